import json
from datetime import date

import pytest

from envoi.errors import CheckError, StorageError, StudyError
from envoi.files import canonical_json
from envoi.study import ServerKeys
from envoi.submission import generate_key, public_text
from envoi.submission.endorsement import (
    SIGNING_DOMAIN,
    SIZE_LIMIT,
    check_endorsement,
    endorse,
    endorsement_of,
)
from envoi.submission.keys import sign
from envoi.submission.receipt import SIGNING_DOMAIN as RECEIPTS

SERVER = generate_key()


@pytest.fixture
def server_study(study, change):
    return change(study, server=ServerKeys(receipts=public_text(SERVER)))


@pytest.fixture
def student(tmp_path):
    path = tmp_path / "student.safetensors"
    path.write_bytes(b"a student")
    return path


@pytest.fixture
def endorsed(student, server_study):
    return endorse(student, study=server_study, key=SERVER, today=date(2030, 6, 1))


def forged(path, domain=SIGNING_DOMAIN, key=SERVER, **changes):
    body = {**json.loads(path.read_text())["endorsement"], **changes}
    text = domain + canonical_json(body).encode()
    document = {"endorsement": body, "signature": sign(key, text)}
    path.write_text(canonical_json(document) + "\n")


def test_what_the_server_signed_is_known_again(endorsed, student, server_study):
    assert endorsed == endorsement_of(student)
    found = check_endorsement(endorsed, study=server_study, student=student)
    assert (found.bytes, found.created) == (9, date(2030, 6, 1))
    before = endorsed.read_bytes()
    endorse(student, study=server_study, key=SERVER, today=date(2030, 6, 1))
    assert endorsed.read_bytes() == before


def test_forgeries_of_the_helper_above_are_otherwise_right(endorsed, student, server_study):
    forged(endorsed)
    assert check_endorsement(endorsed, study=server_study, student=student)


def test_another_student_is_refused_with_all_that_differs(endorsed, student, server_study):
    student.write_bytes(b"another one")
    with pytest.raises(CheckError) as caught:
        check_endorsement(endorsed, study=server_study, student=student)
    places = [problem.where for problem in caught.value.problems]
    assert places == ["endorsement, SHA-256 of the student", "endorsement, bytes of the student"]


def test_a_student_of_another_study_is_refused(endorsed, student, server_study, change):
    other = change(server_study, name="another")
    with pytest.raises(CheckError, match="endorsement, study"):
        check_endorsement(endorsed, study=other, student=student)


@pytest.mark.parametrize(
    "forgery",
    [
        {"key": generate_key()},
        {"domain": RECEIPTS},
        {"domain": b""},
        {"created": "2030-13-01"},
        {"more": 1},
        {"server": "somebody"},
    ],
)
def test_nobody_else_signs_and_nothing_else_is_signed(endorsed, student, server_study, forgery):
    forged(endorsed, **forgery)
    with pytest.raises(CheckError):
        check_endorsement(endorsed, study=server_study, student=student)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[1]", b"x" * (SIZE_LIMIT + 1)])
def test_what_is_no_endorsement_is_refused(endorsed, student, server_study, content):
    endorsed.write_bytes(content)
    with pytest.raises(CheckError, match="an endorsement"):
        check_endorsement(endorsed, study=server_study, student=student)


def test_one_spelling_alone_is_taken(endorsed, student, server_study):
    endorsed.write_text(json.dumps(json.loads(endorsed.read_text()), indent=1))
    with pytest.raises(CheckError, match="an endorsement"):
        check_endorsement(endorsed, study=server_study, student=student)


def test_a_study_without_a_key_and_a_missing_student_are_told(student, study, server_study):
    with pytest.raises(StudyError, match="a study that names its key"):
        endorse(student, study=study, key=SERVER)
    with pytest.raises(StudyError, match="Give the server's own key"):
        endorse(student, study=server_study, key=generate_key())
    student.unlink()
    with pytest.raises(StorageError, match="a student's file"):
        endorse(student, study=server_study, key=SERVER)
    assert not endorsement_of(student).exists()
