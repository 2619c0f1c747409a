"""Delivering a file into a folder that may be slow, full or gone: a share, a USB stick.

    FOLDER/NAME.<16 digits of the file's SHA-256>.part    while it is on its way
    FOLDER/NAME                                           once it is there, whole

Copied in chunks; every chunk that is there already is compared before the copy goes on, so that
any cut, and any damage, is made good by running it again. The part is synced, read back and
compared by digest before it gets its name, which it never takes from another file. Memory is two
chunks. A server's inbox passes over `.part`.

Not known here: whether a share keeps its promise to have written what it was told to sync. The
digest is that of what the share gives back.
"""

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from envoi.errors import Problem, StorageError
from envoi.files import NO_SPACE, file_digest
from envoi.submission.intake import Intake, intake
from envoi.submission.kinds import BEGINNING_BYTES, kind_of
from envoi.submission.refusal import refused

CHUNK_BYTES = 1 << 20
UNFINISHED_SUFFIXES = (".part", ".partial", ".filepart", ".crdownload", ".tmp", ".temp", "~")
# A share that knows no locks, or no hard links, says so by one of these.
_NOT_SUPPORTED = {
    errno.EPERM,
    errno.ENOSYS,
    errno.EINVAL,
    errno.EMLINK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOLCK,
    errno.EACCES,
}
_PART_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_AGAIN = "run the same command again; it goes on from what is there"

OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file that is in its folder, whole.

    Attributes:
        path: Where it is.
        bytes: Its size.
        sha256: Of its content, as read back.
        kept_bytes: Of it that were there before.
    """

    path: Path
    bytes: int
    sha256: str
    kept_bytes: int


def ignore_bytes(_done: int, _total: int) -> None:
    """The default callback: nobody listens."""


def deliver(file: Path, folder: Path, *, on_bytes: OnBytes = ignore_bytes) -> Delivered:
    """Copy `file` into `folder` under its own name; again after a cut, it goes on.

    Args:
        file: A submission, encrypted or not, a withdrawal notice or an evaluation.
        folder: Must exist.
        on_bytes: Told how many bytes are there, of how many.

    Raises:
        SubmissionError: It is no file that a site sends, or cannot be read, or changed meanwhile.
        StorageError: The folder is missing or full, another file has the name, or what was
            written does not read back the same. What is there stays for the next try.
    """
    _check_names(file, folder)
    with intake(file) as source:
        sha256 = hashlib.file_digest(source.file, "sha256").hexdigest()
        source.file.seek(0)
        if kind_of(source.read(min(source.size, BEGINNING_BYTES))) is None:
            expected = "a submission or a withdrawal notice"
            remedy = "Deliver the file that `envoi site submit` or `envoi site withdraw` wrote."
            raise refused(source.where, expected, "another file", remedy)
        source.file.seek(0)
        target, part = folder / file.name, folder / f"{file.name}.{sha256[:16]}.part"
        if _is_there(target, sha256):
            with suppress(OSError):
                part.unlink(missing_ok=True)
            return Delivered(target, source.size, sha256, source.size)
        with _part(part, source.where) as copy:
            kept = _filled(copy, source, on_bytes)
            _check_copy(copy, sha256, source.where)
        _name(part, target)
    return Delivered(target, source.size, sha256, kept)


def _check_names(file: Path, folder: Path) -> None:
    if file.name.startswith(".") or file.name.lower().endswith(UNFINISHED_SUFFIXES):
        expected, found = "the name of a finished file", "one that the server passes over"
        raise refused("file", expected, found, "Give it the name that `envoi site submit` gave it.")
    if not folder.is_dir():
        found = "a file of that name" if folder.exists() else "nothing"
        remedy = "Connect the share or the stick, or name another folder."
        raise StorageError(Problem("a folder", found, folder.name or "folder", remedy))


def _is_there(target: Path, sha256: str) -> bool:
    """Whether this very file has the name already.

    Raises:
        StorageError: Another one has.
    """
    if not target.is_symlink() and not target.exists():
        return False
    try:
        if stat.S_ISREG(target.lstat().st_mode) and file_digest(target) == sha256:
            return True
    except OSError as err:
        raise _failed(err, target.name) from err
    raise _taken(target)


def _taken(target: Path) -> StorageError:
    expected, found = "a folder without a file of this name", "another file of this name"
    remedy = "It was not touched. Move it away, or write a submission with a higher number."
    return StorageError(Problem(expected, found, target.name, remedy))


@contextmanager
def _part(part: Path, where: str) -> Iterator[FileIO]:
    """The unfinished copy, held against a second deliverer where the share knows locks."""
    try:
        with FileIO(os.open(part, _PART_FLAGS, 0o644), "rb+") as copy:
            _claim(copy, where)
            yield copy
    except StorageError:
        raise
    except OSError as err:
        raise _failed(err, where) from err


def _claim(copy: FileIO, where: str) -> None:
    if not stat.S_ISREG(os.fstat(copy.fileno()).st_mode):
        expected, found = "a regular file as the unfinished copy", "something else"
        raise StorageError(Problem(expected, found, where, "Move it away."))
    try:
        fcntl.flock(copy, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        found, remedy = "another delivery of this file under way", "Wait for it, and try again."
        raise StorageError(Problem("no other delivery", found, where, remedy)) from err
    except OSError as err:
        if err.errno not in _NOT_SUPPORTED:
            raise


def _filled(copy: FileIO, source: Intake, on_bytes: OnBytes) -> int:
    """Write what the copy lacks; the bytes that were right already."""
    kept = done = 0
    while done < source.size:
        chunk = source.read(min(CHUNK_BYTES, source.size - done))
        if kept == done and _has(copy, done, chunk):
            kept += len(chunk)
        else:
            if kept == done:
                copy.truncate(done)
            _write(copy, done, chunk)
        done += len(chunk)
        on_bytes(done, source.size)
    copy.truncate(source.size)
    source.require_end()
    os.fsync(copy.fileno())
    return kept


def _has(copy: FileIO, start: int, chunk: bytes) -> bool:
    """Whether the copy holds `chunk` from `start` on."""
    copy.seek(start)
    there = bytearray()
    while len(there) < len(chunk) and (more := copy.read(len(chunk) - len(there))):
        there += more
    return hashlib.sha256(there).digest() == hashlib.sha256(chunk).digest()


def _write(copy: FileIO, start: int, chunk: bytes) -> None:
    copy.seek(start)
    left = memoryview(chunk)
    while left:
        left = left[copy.write(left) or 0 :]


def _check_copy(copy: FileIO, sha256: str, where: str) -> None:
    """Read the copy back, from the medium where the system can be asked to."""
    with suppress(OSError, AttributeError):
        os.posix_fadvise(copy.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    copy.seek(0)
    if hashlib.file_digest(copy, "sha256").hexdigest() != sha256:
        expected, found = "the file as it was read at first", "other bytes in the copy"
        remedy = f"The file or the medium changed meanwhile: {_AGAIN}."
        raise StorageError(Problem(expected, found, where, remedy))


def _name(part: Path, target: Path) -> None:
    """Give the part its name, unless another file has it."""
    try:
        try:
            os.link(part, target)
        except FileExistsError:
            raise
        except OSError as err:
            if err.errno not in _NOT_SUPPORTED:
                raise
            # No hard links, as on FAT: between this look and the renaming is a moment's gap.
            if os.path.lexists(target):
                raise FileExistsError from err
            part.rename(target)
        else:
            part.unlink()
        _sync(target.parent)
    except FileExistsError as err:
        raise _taken(target) from err
    except OSError as err:
        raise _failed(err, target.name) from err


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some shares cannot sync a folder
            os.fsync(handle)
    finally:
        os.close(handle)


def _failed(err: OSError, where: str) -> StorageError:
    is_full = err.errno in NO_SPACE
    found = "a full disk" if is_full else (err.strerror or "an error of the disk")
    remedy = f"Free some space there and {_AGAIN}." if is_full else f"See to it, and {_AGAIN}."
    return StorageError(Problem("a folder that takes the file", found, where, remedy))
