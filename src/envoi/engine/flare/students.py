"""Where students are kept: in the server's kit before they go out, at a site once they are there.

A student is bytes here: nothing of it is loaded. What counts is the server's signature beside it,
by the key that the kit's study.toml names, and a size that a student of that study can have. Its
name is its checksum's; a sender chooses none.
"""

import tempfile
from pathlib import Path

from envoi.engine.flare.kit import make_private
from envoi.errors import CheckError, Problem, StorageError
from envoi.files import digest, file_digest, write_bytes
from envoi.server.student import largest_student_bytes
from envoi.study import Study
from envoi.submission.endorsement import (
    SIZE_LIMIT,
    check_endorsement_of,
    endorsement_of,
)
from envoi.submission.intake import intake

_NAME_DIGITS = 16
_REMEDY = "Ask the coordinator for a student of this study with its endorsement."


def student_path(folder: Path, sha256: str) -> Path:
    """Where the student with this SHA-256 is kept."""
    return folder / f"{sha256[:_NAME_DIGITS]}.safetensors"


def keep_student(
    content: bytes, endorsement: bytes, folder: Path, *, study: Study, scratch: Path
) -> Path:
    """Check a student, then put it and its endorsement into place; the student's path.

    What is there already is not written again.

    Args:
        content: Of the student's file.
        endorsement: What the server signed about it.
        folder: Where students are kept; made if need be, for its owner alone.
        study: Names the server's key.
        scratch: An existing folder that no other user can enter.

    Raises:
        CheckError: It is larger than any student of the study, or the endorsement does not fit.
        StudyError: The study names no key of its server.
        StorageError: It cannot be written.
    """
    for what, size, most in (
        ("a student", len(content), largest_student_bytes(study)),
        ("an endorsement", len(endorsement), SIZE_LIMIT),
    ):
        if size > most:
            problem = Problem(f"{what} of at most {most} bytes", f"{size}", "student", _REMEDY)
            raise CheckError(problem)
    sha256 = digest(content)
    with tempfile.NamedTemporaryFile(dir=scratch, prefix="endorsement.", suffix=".part") as file:
        file.write(endorsement)
        file.flush()
        check_endorsement_of(Path(file.name), study=study, sha256=sha256, size=len(content))
    path = student_path(folder, sha256)
    _make(folder)
    _keep(path, content)
    _keep(endorsement_of(path), endorsement)
    return path


def kept_student(folder: Path, sha256: str, *, study: Study) -> tuple[bytes, bytes]:
    """The bytes of a student that is kept, and of its endorsement.

    Raises:
        StorageError: It is not there, or is another one.
        SubmissionError: A file cannot be read.
    """
    path = student_path(folder, sha256)
    content = _read(path, largest_student_bytes(study))
    if digest(content) != sha256:
        remedy = "Send it again with `envoi flare send`."
        raise StorageError(Problem("the student that is sent", "another", path.name, remedy))
    return content, _read(endorsement_of(path), SIZE_LIMIT)


def _read(path: Path, limit: int) -> bytes:
    with intake(path) as source:
        return source.read(min(source.size, limit + 1))


def _make(folder: Path) -> None:
    try:
        if not folder.is_dir():
            make_private(folder)
    except OSError as err:
        found, remedy = err.strerror or "an error", "Make it, writable for this user."
        raise StorageError(Problem("a folder of students", found, folder.name, remedy)) from err


def _keep(path: Path, content: bytes) -> None:
    if not path.is_file() or file_digest(path) != digest(content):
        write_bytes(path, content)
