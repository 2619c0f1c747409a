"""A file of the inbox becomes a copy in `.incoming`, decrypted if it came encrypted.

What is copied is hashed on the way. Of a file that cannot be decrypted nothing stays: the copy
appears whole or not at all. Memory is one block.
"""

import hashlib
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from envoi.errors import Problem
from envoi.files import writing
from envoi.server.inbox import blocks
from envoi.server.ledger import INCOMING
from envoi.submission.encryption import Identity, NotDecryptedError, decrypt, encrypted_limit


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file on its way in.

    Attributes:
        digest: SHA-256 of the file as it came.
        bytes: Its size as it came.
        copy: The copy, not encrypted; None if there is none.
        content: SHA-256 of the copy, if the file came encrypted.
        problem: Why there is no copy.
    """

    digest: str
    bytes: int
    copy: Path | None
    content: str | None = None
    problem: Problem | None = None


def copied(file: FileIO, folder: Path, *, limit: int) -> Incoming:
    """Copy a file as it is, or its first `limit + 1` bytes.

    Raises:
        OSError: It cannot be read.
        StorageError: The folder cannot be written.
    """
    file.seek(0)
    found, size = hashlib.sha256(), 0
    copy = folder / INCOMING / "file"
    with writing(copy) as target:
        for block in blocks(file, limit):
            found.update(block)
            size += target.write(block)
    return Incoming(found.hexdigest(), size, copy)


def decrypted(file: FileIO, folder: Path, *, identity: Identity, limit: int) -> Incoming:
    """Decrypt a file of at most `limit` bytes inside; the copy is readable by its owner alone.

    Raises:
        OSError: The file cannot be read.
        StorageError: The folder cannot be written.
    """
    file.seek(0)
    source = _Hashed(file)
    copy = folder / INCOMING / "file"
    try:
        with writing(copy, mode=0o600) as target:
            plain = _Hashed(target)
            decrypt(source, plain, identity, limit=limit)
    except NotDecryptedError as err:
        source.drain(encrypted_limit(limit))
        return Incoming(source.digest, source.size, None, problem=err.problems[0])
    source.drain(encrypted_limit(limit))
    return Incoming(source.digest, source.size, copy, plain.digest)


@dataclass(slots=True)
class _Hashed:
    """A file whose bytes are counted and hashed as they are read or written."""

    file: FileIO | BinaryIO
    size: int = 0
    _found: Any = field(default_factory=hashlib.sha256)

    def read(self, count: int) -> bytes:
        """The next bytes."""
        block = self.file.read(count) or b""
        self._note(block)
        return block

    def write(self, block: bytes) -> int:
        """Write `block`."""
        self._note(block)
        return self.file.write(block) or 0

    def drain(self, limit: int) -> None:
        """Read what is left, up to `limit` bytes in all."""
        while self.size <= limit and self.read(1 << 20):
            pass

    @property
    def digest(self) -> str:
        """SHA-256 of what passed."""
        return str(self._found.hexdigest())

    def _note(self, block: bytes) -> None:
        self._found.update(block)
        self.size += len(block)
