"""A student is checked before it is put into place, at the server and at a site."""

import os

import pytest

from envoi.engine.flare.cargo import Kind
from envoi.engine.flare.kit import Kit, Role, settings_text
from envoi.engine.flare.send import prepared
from envoi.engine.flare.students import keep_student, kept_student, student_path
from envoi.errors import CheckError, StorageError, StudyError, SubmissionError
from envoi.files import digest, file_digest
from envoi.server.student import largest_student_bytes
from envoi.submission import generate_key, public_text
from tests.engine.flare.conftest import SIGNING, endorsed, student_of, study_of


def keep(folder, content, endorsement, study):
    (folder / "scratch").mkdir(exist_ok=True)
    place = folder / "students"
    try:
        return keep_student(content, endorsement, place, study=study, scratch=folder / "scratch")
    finally:
        assert list((folder / "scratch").iterdir()) == []


@pytest.fixture
def sent(tmp_path, signing):
    """Bytes of a student and of its endorsement."""
    student, endorsement = endorsed(tmp_path, signing)
    return student.read_bytes(), endorsement.read_bytes()


def test_a_student_is_kept_under_its_checksum_and_found_again(tmp_path, signing, sent):
    path = keep(tmp_path, *sent, signing)
    assert path == student_path(tmp_path / "students", digest(sent[0]))
    assert path.name == f"{digest(sent[0])[:16]}.safetensors"
    assert kept_student(path.parent, digest(sent[0]), study=signing) == sent


def test_equal_bytes_are_not_written_twice(tmp_path, signing, sent):
    path = keep(tmp_path, *sent, signing)
    for file in path.parent.iterdir():
        os.utime(file, ns=(1, 1))
    keep(tmp_path, *sent, signing)
    assert {file.stat().st_mtime_ns for file in path.parent.iterdir()} == {1}
    path.write_bytes(b"damaged")
    keep(tmp_path, *sent, signing)
    assert path.read_bytes() == sent[0]


def test_more_than_a_student_weighs_is_refused_before_anything_is_looked_at(tmp_path, signing):
    limit = largest_student_bytes(signing)
    with pytest.raises(CheckError, match=f"a student of at most {limit} bytes"):
        keep(tmp_path, bytes(limit + 1), b"", signing)
    with pytest.raises(CheckError, match="an endorsement of at most"):
        keep(tmp_path, b"", bytes(4096), signing)
    assert not (tmp_path / "students").exists()


def test_another_key_study_or_student_is_refused(tmp_path, signing, sent):
    with pytest.raises(CheckError, match="endorsement, SHA-256 of the student"):
        keep(tmp_path, sent[0] + b"\0", sent[1], signing)
    with pytest.raises(CheckError, match="endorsement, study"):
        keep(tmp_path, *sent, study_of(**SIGNING, seed=1))
    other = study_of(server={"receipts": public_text(generate_key())})
    with pytest.raises(CheckError, match="the signature of the study's server"):
        keep(tmp_path, *sent, other)
    with pytest.raises(StudyError, match="a key that signs"):
        keep(tmp_path, *sent, study_of())
    assert not (tmp_path / "students").exists()


def test_a_student_that_is_gone_or_another_is_not_sent(tmp_path, signing, sent):
    path = keep(tmp_path, *sent, signing)
    path.write_bytes(b"another")
    with pytest.raises(StorageError, match="expected the student that is sent, found another"):
        kept_student(path.parent, digest(sent[0]), study=signing)
    path.unlink()
    with pytest.raises(SubmissionError, match="a readable file"):
        kept_student(path.parent, digest(sent[0]), study=signing)


def server_of(root, study):
    root = root / "server"
    (root / "local").mkdir(parents=True)
    (root / "local" / "envoi.toml").write_text(settings_text(Role.SERVER))
    return Kit(root, Role.SERVER, study)


def test_what_is_sent_is_checked_and_lies_in_the_servers_kit(tmp_path, signing):
    server = server_of(tmp_path, signing)
    student, endorsement = endorsed(tmp_path, signing)
    cargo = prepared(student, server)
    assert (cargo.kind, cargo.student) == (Kind.STUDENT, file_digest(student))
    found = kept_student(server.students, cargo.student, study=signing)
    assert found == (student.read_bytes(), endorsement.read_bytes())


def test_nothing_is_sent_that_sites_would_refuse(tmp_path, signing):
    server = server_of(tmp_path, signing)
    student = student_of(tmp_path, signing)
    with pytest.raises(CheckError, match=r"expected student-1.safetensors.endorsement.json beside"):
        prepared(student, server)
    _, wrong = endorsed(tmp_path, signing, seed=2)
    wrong.rename(tmp_path / f"{student.name}.endorsement.json")
    with pytest.raises(CheckError, match="endorsement, SHA-256 of the student"):
        prepared(student, server)
    foreign, _ = endorsed(tmp_path, study_of(**SIGNING, seed=1), seed=3)
    with pytest.raises(StudyError, match="expected a student of this study"):
        prepared(foreign, server)
    with pytest.raises(StorageError, match="expected a student"):
        prepared(tmp_path / "none.safetensors", server)
    assert not server.students.exists()


def test_a_study_that_names_no_server_key_is_told(tmp_path, study):
    student = student_of(tmp_path, study)
    with pytest.raises(StudyError, match=r"expected a study that names its server's key"):
        prepared(student, server_of(tmp_path, study))
