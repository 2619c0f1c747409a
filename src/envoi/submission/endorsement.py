"""What the server signs about a student: so that it cannot be swapped on its way back.

A small JSON file beside the student's. It says which bytes are a student of which study; it does
not say how good that student is. Loads no torch.
"""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from envoi.errors import CheckError, Problem, StorageError
from envoi.files import file_digest, write_text
from envoi.study import Study
from envoi.submission.by_server import ServerForm, check_signing_key, signing_key_of
from envoi.submission.keys import fingerprint, public_text
from envoi.submission.manifest import Digest
from envoi.submission.receipt import Fingerprint

SUFFIX = ".endorsement.json"
SIGNING_DOMAIN = b"envoi endorsement v1\n"
SIZE_LIMIT = 2048
_REMEDY = "Ask the coordinator for the student and its endorsement again."


class Endorsement(BaseModel):
    """What a server says of a student's file.

    Attributes:
        schema_version: Of this format.
        study: Digest of the study.
        student: SHA-256 of the student's file.
        bytes: Its size.
        created: Day (UTC) of signing, by the server's clock.
        server: Fingerprint of the key that signs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    study: Digest
    student: Digest
    bytes: Annotated[StrictInt, Field(gt=0)]
    created: date
    server: Fingerprint


_FORM = ServerForm(
    "endorsement", "an endorsement", Endorsement, SIGNING_DOMAIN, SIZE_LIMIT, _REMEDY
)


def endorsement_of(student: Path) -> Path:
    """Where a student's endorsement is: beside it, under its name."""
    return student.with_name(student.name + SUFFIX)


def endorse(
    student: Path, *, study: Study, key: Ed25519PrivateKey, today: date | None = None
) -> Path:
    """Sign a student's file; what was signed before is replaced.

    Args:
        student: Whose study was checked.
        study: That it is a student of.
        key: The server's.
        today: By this machine's clock; None is today in UTC.

    Returns:
        The endorsement's path.

    Raises:
        StudyError: The study names another server key, or none.
        StorageError: The student cannot be read, or the endorsement not written.
    """
    check_signing_key(study, key)
    sha256, size = _digest_of(student)
    content = Endorsement(
        study=study.digest,
        student=sha256,
        bytes=size,
        created=today or datetime.now(UTC).date(),
        server=fingerprint(public_text(key)),
    )
    path = endorsement_of(student)
    write_text(path, _FORM.signed(content, key))
    return path


def check_endorsement(path: Path, *, study: Study, student: Path) -> Endorsement:
    """The endorsement at `path`, if the study's server signed it about this very student.

    Raises:
        CheckError: Something does not match; everything that does not.
        StudyError: The study names no server key.
        SubmissionError: The endorsement cannot be read.
        StorageError: The student cannot be read.
    """
    sha256, size = _digest_of(student)
    return check_endorsement_of(path, study=study, sha256=sha256, size=size)


def check_endorsement_of(path: Path, *, study: Study, sha256: str, size: int) -> Endorsement:
    """The same for a student that may not be in a file yet.

    Args:
        path: Of the endorsement.
        study: Names the server's key.
        sha256: Of the student.
        size: Its bytes.

    Raises:
        CheckError: Something does not match; everything that does not.
        StudyError: The study names no server key.
        SubmissionError: The endorsement cannot be read.
    """
    public_key = signing_key_of(study)
    found = _FORM.opened(path, public_key=public_key)
    wanted = {
        "study": (study.digest, found.study),
        "server": (fingerprint(public_key), found.server),
        "SHA-256 of the student": (sha256, found.student),
        "bytes of the student": (size, found.bytes),
    }
    problems = [
        Problem(f"{own}", f"{told}", f"endorsement, {what}", _REMEDY)
        for what, (own, told) in wanted.items()
        if own != told
    ]
    if problems:
        raise CheckError(*problems)
    return found


def _digest_of(student: Path) -> tuple[str, int]:
    try:
        return file_digest(student), student.stat().st_size
    except OSError as err:
        found = err.strerror or "nothing"
        raise StorageError(Problem("a student's file", found, student.name, _REMEDY)) from err
