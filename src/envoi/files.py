"""Durable files: every write is atomic, every JSON text canonical."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from envoi.errors import Problem, StorageError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Numbers of the system's errors that more space would have spared."""


@contextmanager
def writing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Open a file that appears at `path` whole, or not at all.

    Written to a temporary file in the same folder, flushed, synced and renamed.

    Args:
        path: Where the file appears. Its folder is made if need be.
        mode: Permission bits.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as err:
        raise _not_written(path, err) from err
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
        _sync_folder(path.parent)
    except OSError as err:
        raise _not_written(path, err) from err
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path` atomically."""
    with writing(path, mode=mode) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401  (any JSON value)
    """Write `value` as indented JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_text(path: Path, *, what: str, remedy: str, is_written: bool = False) -> str:
    """Read a UTF-8 file, or say in one line why not.

    Args:
        path: The file.
        what: What the file is, for the message ("a study file").
        remedy: What to do if it cannot be read.
        is_written: Somebody wrote it by hand or with a spreadsheet, and can save it otherwise; the
            mark that a spreadsheet puts first (a BOM) is taken off.

    Raises:
        StorageError: The file is missing, unreadable or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise StorageError(Problem(what, f"{err.strerror}", path.name, remedy)) from err
    except UnicodeDecodeError as err:
        if is_written:
            remedy = f"Save it as UTF-8 (in a spreadsheet: CSV UTF-8). {remedy}"
        raise StorageError(Problem(what, "bytes that are not UTF-8", path.name, remedy)) from err
    return text.lstrip("\ufeff") if is_written else text


def read_json(path: Path, *, what: str, remedy: str) -> dict[str, Any]:
    """Read a JSON file that holds one object, or say in one line why not.

    Args:
        path: The file.
        what: What the file is, for the message.
        remedy: What to do if it cannot be read.

    Raises:
        StorageError: The file is missing, unreadable or damaged.
    """
    try:
        found = json.loads(read_text(path, what=what, remedy=remedy))
    except ValueError as err:
        raise StorageError(Problem(what, "a damaged file", path.name, remedy)) from err
    if not isinstance(found, dict):
        raise StorageError(Problem(what, "a damaged file", path.name, remedy))
    return found


def canonical_json(value: Any) -> str:  # noqa: ANN401  (any JSON value)
    """The one JSON text of `value`: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(content: bytes | memoryview) -> str:
    """SHA-256 of `content` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def digest_of_parts(parts: Iterable[bytes | memoryview]) -> str:
    """`digest` of all parts one after the other; one of them in memory at a time."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part)
    return hashed.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, read in blocks: memory stays flat in its size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_stamp(path: Path) -> str:
    """Size and time of the last change of a file; empty where there is none to be read.

    Cheap, where `file_digest` would read everything: two states of a file that was written anew
    have two stamps.
    """
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"


def check_folder(folder: Path) -> None:
    """Make sure, before long work, that no file stands where `folder` is or would be made.

    Raises:
        StorageError: One does.
    """
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            remedy = "Name another folder, or move that file away; nothing was changed."
            raise StorageError(Problem("a folder", "a file of that name", place.name, remedy))


def check_writable(folder: Path) -> None:
    """Make sure, before long work, that files can be written in `folder`, which may be a new one.

    Nothing is made; a disk that is full is found out only by writing.

    Raises:
        StorageError: A file stands where the folder would be made, or there is no permission.
    """
    check_folder(folder)
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        remedy = "Name another place, or change the folder's permissions; nothing was changed."
        name = place.name or "folder"
        raise StorageError(Problem("a writable folder", "no permission to write", name, remedy))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _not_written(path: Path, err: OSError) -> StorageError:
    if isinstance(err, IsADirectoryError):
        remedy = "Name another file, or move that folder away; the file was not written."
        return StorageError(Problem("a file", "a folder of that name", path.name, remedy))
    if isinstance(err, FileExistsError | NotADirectoryError):
        try:
            check_folder(path.parent)
        except StorageError as told:
            return told
    remedy = "Free some space or choose" if err.errno in NO_SPACE else "Choose"
    return StorageError(
        Problem(
            "a writable file",
            err.strerror or type(err).__name__,
            path.name,
            f"{remedy} another folder; the file was not written.",
        )
    )
