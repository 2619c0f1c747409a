import pytest

from envoi.engine.flare.cargo import SUBMISSIONS, WITHDRAWALS, Cargo, Kind
from envoi.engine.flare.jobs import job_name, job_prefix
from envoi.errors import SettingsError
from envoi.submission import largest_submission_bytes
from envoi.submission.evaluation import SIZE_LIMIT as EVALUATION_LIMIT
from envoi.submission.withdrawal import SIZE_LIMIT as NOTICE_LIMIT

ONE, OTHER = "1" * 64, "2" * 64
ALL = (
    SUBMISSIONS,
    WITHDRAWALS,
    *(Cargo(kind, student) for kind in (Kind.EVALUATION, Kind.STUDENT) for student in (ONE, OTHER)),
)


@pytest.mark.parametrize(
    "student", ["", "1" * 63, "../../../etc/passwd", "1" * 64 + "\n", "G" * 64]
)
@pytest.mark.parametrize("kind", [Kind.EVALUATION, Kind.STUDENT])
def test_a_student_is_named_by_a_checksum_and_by_nothing_else(kind, student):
    with pytest.raises(SettingsError, match="expected 64 hexadecimal digits"):
        Cargo(kind, student)


@pytest.mark.parametrize("kind", [Kind.SUBMISSION, Kind.WITHDRAWAL])
def test_what_is_of_no_student_names_none(kind):
    with pytest.raises(SettingsError, match=f"expected a {kind} alone"):
        Cargo(kind, ONE)


def test_no_job_is_taken_for_one_with_another_cargo():
    for own in ALL:
        name = job_name("north", own)
        assert [cargo for cargo in ALL if name.startswith(job_prefix(cargo))] == [own]


def test_no_file_of_the_inbox_is_taken_for_another_cargo_or_site():
    sites = ("north", "north-2", "north-" + "1" * 12, "n")
    for own in ALL:
        for site in sites:
            name = own.inbox_name(site, "a" * 64)
            assert [other for other in sites if own.is_inbox_name(name, other)] == [site]
            if own.kind is not Kind.STUDENT:
                same = [cargo for cargo in ALL if cargo.is_inbox_name(name, site)]
                assert [cargo for cargo in same if cargo.kind is not Kind.STUDENT] == [own]


def test_every_kind_has_a_limit_of_its_own(study):
    limits = {cargo.kind: cargo.largest_bytes(study) for cargo in ALL[:3]}
    assert limits == {
        Kind.SUBMISSION: largest_submission_bytes(study),
        Kind.WITHDRAWAL: NOTICE_LIMIT,
        Kind.EVALUATION: EVALUATION_LIMIT,
    }
