"""Files of public data sets over HTTPS: resumed where they were cut, checked before they appear.

A file is written as `NAME.part` and renamed when it is whole and its MD5 is the published one. An
interrupted download goes on from its last byte: the server is asked for the rest (RFC 9110, 14.2)
on condition that the file is still the same (`If-Range`, 13.1.5), by the validator that came with
its beginning. A server that sends the whole file in place of the rest is taken at its word.

MD5 finds damage; it is no proof against an adversary, which is HTTPS's part. A file without a
published MD5 is checked by its length alone, where the server tells it.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from envoi.data.https import FAILURES, Answer, asking, cut
from envoi.errors import Problem, StorageError
from envoi.files import NO_SPACE, check_folder, write_json
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo

_BLOCK = 1 << 18
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Remote:
    """A file that its publisher keeps for everybody.

    Attributes:
        name: What it is called here.
        url: Where it is.
        md5: 32 hexadecimal digits, as published; None if its publisher names none.
    """

    name: str
    url: str
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class _Begun:
    """What is known of a part, from beside it.

    Attributes:
        size: Bytes that are there.
        validator: What the server said of the file when it began.
        total: Length of the whole file, if it is known.
    """

    size: int = 0
    validator: str | None = None
    total: int | None = None


def fetch(
    remote: Remote,
    folder: Path,
    *,
    timeout_seconds: float = 60.0,
    on_step: OnStep = ignore_step,
) -> Path:
    """Get a file, unless it is there.

    Memory: one block of 256 KiB.

    Args:
        remote: Which.
        folder: Where it appears; made if need be.
        timeout_seconds: Longest silence of the server.
        on_step: Told of each MiB.

    Returns:
        Its path.

    Raises:
        StorageError: The server refuses, is cut or silent, the file is another than the published
            one, or the disk is full. What was cut goes on from there with the next call.
    """
    check_folder(folder)
    path = folder / remote.name
    if path.exists():
        _check_kept(path, remote)
        return path
    part = folder / f"{remote.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        begun = _begun(part, remote)
        if begun.total is None or begun.size != begun.total:
            _download(remote, part, begun, timeout_seconds, on_step)
        _check_part(part, remote)
        part.replace(path)
        _kept(part).unlink(missing_ok=True)
    except StorageError:
        raise
    except OSError as err:
        raise _not_written(remote.name, err) from err
    return path


def _download(
    remote: Remote, part: Path, begun: _Begun, timeout_seconds: float, on_step: OnStep
) -> None:
    """Append what is missing, or begin anew if the server does."""
    with asking(
        remote.url,
        remote.name,
        start=begun.size,
        validator=begun.validator,
        timeout_seconds=timeout_seconds,
    ) as answer:
        if answer.start and begun.total not in {None, answer.total}:
            _forget(part)
            remedy = "Run the same command again; it begins anew."
            found = "one of another length"
            raise StorageError(Problem("the file that was begun", found, remote.name, remedy))
        _check_space(part, answer, remote.name)
        if not answer.start:
            part.unlink(missing_ok=True)
        kept = {"url": remote.url, "validator": answer.validator, "total": answer.total}
        write_json(_kept(part), kept)
        size = _append(answer, part, remote.name, on_step)
    if answer.total is not None and size != answer.total:
        raise cut(remote.name)


def _append(answer: Answer, part: Path, name: str, on_step: OnStep) -> int:
    """Write what comes, and return how long the part is then; what came is kept in any case."""
    size = answer.start
    with part.open("ab") as file:
        try:
            while block := _next(answer, name):
                file.write(block)
                before, size = size, size + len(block)
                if before // _MIB != size // _MIB:
                    total = max(1, (answer.total or size) // _MIB)
                    on_step(StepInfo(name, size // _MIB, total, {}))
        finally:
            file.flush()
            os.fsync(file.fileno())
    return size


def _next(answer: Answer, name: str) -> bytes:
    """What is there to read; nothing at the end."""
    try:
        return answer.body.read1(_BLOCK)
    except FAILURES as err:
        raise cut(name, err) from err


def _begun(part: Path, remote: Remote) -> _Begun:
    """What an earlier call left, if it can be gone on with; what cannot be is removed."""
    try:
        kept = json.loads(_kept(part).read_text(encoding="utf-8"))
        validator, total = kept["validator"], kept["total"]
        size = part.stat().st_size
        usable = kept["url"] == remote.url and (total is None or size <= total)
    except (OSError, ValueError, LookupError, TypeError):
        _forget(part)
        return _Begun()
    # Without a validator only the MD5 tells whether the two halves are of one file.
    if not usable or not (validator or remote.md5):
        _forget(part)
        return _Begun()
    return _Begun(size, validator, total)


def _check_kept(path: Path, remote: Remote) -> None:
    if remote.md5 and (found := _md5(path)) != remote.md5:
        remedy = "Move the file away, or give another --out."
        raise StorageError(_another(found, remote, remedy))


def _check_part(part: Path, remote: Remote) -> None:
    if remote.md5 and (found := _md5(part)) != remote.md5:
        _forget(part)
        remedy = (
            "It was removed. Run the same command again; if it is the same, tell the publisher."
        )
        raise StorageError(_another(found, remote, remedy))


def _another(found: str, remote: Remote, remedy: str) -> Problem:
    return Problem(f"a file whose MD5 is {remote.md5}", found, remote.name, remedy)


def _check_space(part: Path, answer: Answer, name: str) -> None:
    """Before a gigabyte is read, not after."""
    if answer.total is None:
        return
    missing = answer.total - answer.start
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        remedy = "Free some space, or give another --out."
        found = f"{free // _MIB} MiB"
        raise StorageError(Problem(f"{missing // _MIB} MiB of free space", found, name, remedy))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        # Not for security: FIPS builds of OpenSSL permit it then.
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _kept(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _kept(part).unlink(missing_ok=True)


def _not_written(name: str, err: OSError) -> StorageError:
    remedy = "Free some space" if err.errno in NO_SPACE else "Choose another folder"
    found = err.strerror or type(err).__name__
    remedy = f"{remedy}; what was read is kept, and the same command goes on from there."
    return StorageError(Problem("a writable file", found, name, remedy))
