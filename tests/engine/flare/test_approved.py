import pytest

from envoi.engine.flare.approved import approved_file, checked
from envoi.engine.flare.cargo import SUBMISSIONS, WITHDRAWALS, Cargo, Kind
from envoi.errors import SignatureError, StorageError, SubmissionError
from envoi.submission import generate_key, public_text
from tests.engine.flare.conftest import KEYS, STUDENT, approve, evaluate, study_of, withdraw

EVALUATIONS = Cargo(Kind.EVALUATION, STUDENT)


def look(outbox, study, site="north", cargo=SUBMISSIONS):
    return approved_file(outbox, study=study, site=site, scratch=outbox, cargo=cargo)


def test_the_highest_number_is_taken(tmp_path, study):
    approve(tmp_path, study, "north", 9)
    newest = approve(tmp_path, study, "north", 10)
    found = look(tmp_path, study)
    assert (found.name, found.sequence) == (newest.name, 10)
    assert found.content == newest.read_bytes()


def test_other_files_are_passed_over(tmp_path, study):
    own = approve(tmp_path, study, "north")
    approve(tmp_path, study, "west", 7)
    (tmp_path / "north-9.safetensors").write_bytes(b"an unfinished copy")
    (tmp_path / "north-8.safetensors").symlink_to(own)
    (tmp_path / "patients.csv").write_text("name\n")
    assert look(tmp_path, study).name == own.name
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("folder", ["", "missing"])
def test_an_empty_outbox_is_told(tmp_path, study, folder):
    with pytest.raises(StorageError, match="expected an approved submission, found none"):
        look(tmp_path / folder, study)


def test_a_file_of_another_site_is_no_approved_file(tmp_path, study):
    approve(tmp_path, study, "west")
    with pytest.raises(SubmissionError, match="expected a file of north, found one of west"):
        look(tmp_path, study)


def test_a_file_of_another_key_or_study_is_no_approved_file(tmp_path, study):
    forger = generate_key()
    forged = study_of(minimum_sites=1, sites={"north": public_text(forger)})
    file = approve(tmp_path, forged, "north", key=forger)
    with pytest.raises(SignatureError):
        look(tmp_path, study)
    file.unlink()
    approve(tmp_path, study_of(seed=1), "north", key=KEYS["north"])
    with pytest.raises(SubmissionError, match="expected the study"):
        look(tmp_path, study)


def test_one_flipped_bit_is_found(tmp_path, study):
    content = bytearray(approve(tmp_path, study, "north").read_bytes())
    content[-1] ^= 1
    with pytest.raises(SubmissionError, match="other bytes"):
        checked(bytes(content), Kind.SUBMISSION, study=study, site="north", scratch=tmp_path)


def test_each_cargo_finds_its_own_kind_in_an_outbox_of_all(tmp_path, study):
    kinds = {SUBMISSIONS: approve, EVALUATIONS: evaluate, WITHDRAWALS: withdraw}
    files = {cargo: make(tmp_path, study, "north") for cargo, make in kinds.items()}
    for cargo, file in files.items():
        found = look(tmp_path, study, cargo=cargo)
        assert (found.name, found.content) == (file.name, file.read_bytes())


def test_the_highest_evaluation_of_the_student_that_is_asked_for_is_taken(tmp_path, study):
    evaluate(tmp_path, study, "north", 2)
    evaluate(tmp_path, study, "north", 11, student="6" * 64)
    newest = evaluate(tmp_path, study, "north", 10)
    assert look(tmp_path, study, cargo=EVALUATIONS).name == newest.name


def test_an_evaluation_of_another_student_alone_is_none(tmp_path, study):
    evaluate(tmp_path, study, "north", student="6" * 64)
    with pytest.raises(StorageError, match="expected an approved evaluation, found none"):
        look(tmp_path, study, cargo=EVALUATIONS)


@pytest.mark.parametrize("make", [evaluate, withdraw])
def test_statements_of_another_site_key_or_study_are_not_approved(tmp_path, study, make):
    cargo = EVALUATIONS if make is evaluate else WITHDRAWALS
    make(tmp_path, study, "west")
    with pytest.raises(SubmissionError, match="expected a file of north, found one of west"):
        look(tmp_path, study, cargo=cargo)
    other = study_of(seed=1)
    file = make(tmp_path, other, "north")
    with pytest.raises(SubmissionError, match="of this study"):
        checked(file.read_bytes(), cargo.kind, study=study, site="north", scratch=tmp_path)
    forger = generate_key()
    roster = study_of(minimum_sites=1, sites={"north": public_text(forger)})
    file = make(tmp_path, roster, "north", key=forger)
    with pytest.raises(SignatureError):
        checked(file.read_bytes(), cargo.kind, study=study, site="north", scratch=tmp_path)


def test_one_kind_does_not_pass_for_another(tmp_path, study):
    files = {
        Kind.SUBMISSION: approve(tmp_path, study, "north"),
        Kind.EVALUATION: evaluate(tmp_path, study, "north"),
        Kind.WITHDRAWAL: withdraw(tmp_path, study, "north"),
    }
    for wanted in files:
        for kind, file in files.items():
            content = file.read_bytes()
            if kind is wanted:
                signed = checked(content, wanted, study=study, site="north", scratch=tmp_path)
                assert signed.site == "north"
            else:
                with pytest.raises(SubmissionError):
                    checked(content, wanted, study=study, site="north", scratch=tmp_path)
