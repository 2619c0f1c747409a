import pytest

from envoi.engine.flare.approved import approved_file, checked
from envoi.errors import SignatureError, StorageError, SubmissionError
from envoi.submission import generate_key, public_text
from tests.engine.flare.conftest import KEYS, approve, study_of


def look(outbox, study, site="north"):
    return approved_file(outbox, study=study, site=site, scratch=outbox)


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
    with pytest.raises(StorageError, match="expected an approved file, found none"):
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
        checked(bytes(content), study=study, site="north", scratch=tmp_path)
