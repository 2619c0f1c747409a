"""The inbox: which files are looked at, and how a stranger's file is read safely.

Of a file that was refused it can be said what it is instead of a submission. That is a help to
people and no check: it looks at the first bytes and at the name alone.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from envoi.errors import Problem, StorageError
from envoi.server.ledger import NAME_LIMIT, printable
from envoi.submission.delivery import UNFINISHED_SUFFIXES
from envoi.submission.evaluation import SUFFIX as EVALUATION_SUFFIX
from envoi.submission.kinds import (
    AGE_MAGIC,
    LENGTH_BYTES,
    NOTICE_BEGINNING,
    SUBMISSION_BEGINNING,
)

NOTICE_SUFFIX = ".withdrawal.json"
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK_BYTES = 1 << 20
_KEY_SUFFIX = ".key"
_PRIVATE, _PUBLIC = b"PRIVATE KEY-----", (b"-----BEGIN PUBLIC KEY", b"ed25519:")
_CONTROL = frozenset(range(32)) - frozenset(b"\t\n\f\r")


def listed(inbox: Path, folder: Path) -> tuple[list[Path], list[str]]:
    """The files of the inbox in the order in which they are taken, and what is passed over.

    Raises:
        StorageError: The inbox cannot be read, or is the server's own folder.
    """
    if inbox.resolve() == folder.resolve():
        remedy = "Keep the inbox and the server's folder apart."
        raise StorageError(Problem("an inbox", "the server's own folder", inbox.name, remedy))
    files, ignored = [], []
    try:
        with os.scandir(inbox) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as err:
        remedy = "Give the folder in which the sites' files arrive."
        what = err.strerror or "an error"
        raise StorageError(Problem("a readable inbox", what, inbox.name, remedy)) from err
    for entry in found:
        if entry.name.startswith("."):
            continue
        if doubt := _doubt(entry):
            ignored.append(f"{printable(entry.name, NAME_LIMIT)}: {doubt}")
        else:
            files.append(Path(entry.path))
    files.sort(key=lambda path: (path.name.endswith(NOTICE_SUFFIX), path.name))
    return files, ignored


def _doubt(entry: os.DirEntry[str]) -> str:
    """Why an entry of the inbox is passed over, or nothing."""
    if entry.is_symlink():
        return "a link"
    if entry.is_dir():
        return "a folder"
    if not entry.is_file():
        return "not a regular file"
    if entry.name.endswith(EVALUATION_SUFFIX):
        return "an evaluation, which `envoi server evaluations` reads"
    return "an unfinished copy" if entry.name.lower().endswith(UNFINISHED_SUFFIXES) else ""


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """A regular file, opened without following a link or waiting for a pipe.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    with FileIO(os.open(path, _OPEN_FLAGS), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "no longer a regular file")
        yield file


def blocks(file: FileIO, limit: int) -> Iterator[bytes]:
    """The content in blocks; of a file that grows no more than one byte above `limit`."""
    left = limit + 1
    while block := file.read(min(_BLOCK_BYTES, left)):
        left -= len(block)
        yield block


def bounded_digest(file: FileIO, limit: int) -> str:
    """SHA-256 of the content, or of its first `limit + 1` bytes."""
    found = hashlib.sha256()
    for block in blocks(file, limit):
        found.update(block)
    return found.hexdigest()


def is_private_key(beginning: bytes, name: str) -> bool:
    """Whether a refused file is a site's private key, by its PEM frame or its name."""
    if _PRIVATE in beginning:
        return True
    is_other = _may_be_submission(beginning) or beginning.startswith(_PUBLIC)
    return name.lower().endswith(_KEY_SUFFIX) and not (beginning and is_other)


def is_notice(beginning: bytes) -> bool:
    """Whether a refused file is a withdrawal notice."""
    return beginning.startswith(NOTICE_BEGINNING)


def is_unfinished_age(beginning: bytes) -> bool:
    """Whether a file that should be an age file may be an unfinished copy of one."""
    return AGE_MAGIC.startswith(beginning) or not beginning.strip(b"\0")


def other_kind(beginning: bytes) -> str | None:
    """What a refused file is if it is no submission, not even a damaged or unfinished one."""
    if _may_be_submission(beginning) or beginning.startswith(AGE_MAGIC):
        return None
    if not _CONTROL.intersection(beginning):
        return "text"
    if beginning[LENGTH_BYTES:].startswith(b"{"):
        return "a model, or other tensors"
    return "a file of another kind"


def _may_be_submission(beginning: bytes) -> bool:
    """A copy may be cut anywhere, or be zeros that are filled in later."""
    if not beginning.strip(b"\0"):
        return True
    header = beginning[LENGTH_BYTES : LENGTH_BYTES + len(SUBMISSION_BEGINNING)]
    if header:
        return SUBMISSION_BEGINNING.startswith(header)
    return bool(_CONTROL.intersection(beginning))
