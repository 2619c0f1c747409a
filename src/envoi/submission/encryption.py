"""Submissions under the server's key on their way: age files (age-encryption.org/v1, X25519).

Whoever carries such a file sees its size and nothing else. It says nothing about who wrote it:
that is the signature inside. Needs the extra `age` (pyrage), and loads it when it is used.

Memory is flat in the size of a file. age compresses nothing, so that the size of what comes out
is bounded by the size of what goes in.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from envoi.errors import MissingExtraError, Problem, StorageError, SubmissionError
from envoi.files import read_text, write_bytes, writing

SUFFIX = ".age"
_CHUNK_BYTES, _TAG_BYTES = 64 * 1024, 16
# One recipient takes some 200 bytes, and a stanza that means nothing up to some 200 more.
_HEADER_ROOM = 4096
_SECRET = "AGE-SECRET-KEY-1"  # noqa: S105  (the beginning that all have in common)
_FOREIGN = (
    "one for another key",
    "Ask the site to compare its study with yours (`envoi study check`) and encrypt again.",
)
_TOO_MUCH = "one that holds more than a submission", "Ask the site what it encrypted."


@runtime_checkable
class Source(Protocol):
    """Where encrypted bytes come from."""

    def read(self, count: int, /) -> bytes:
        """The next `count` bytes, or fewer."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where plain bytes go."""

    def write(self, content: bytes, /) -> int:
        """Take all of `content`."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The private half of an age key; its repr shows the public half alone.

    Attributes:
        recipient: The public half, `age1...`.
    """

    recipient: str
    _secret: Any = field(repr=False, compare=False)


class NotDecryptedError(SubmissionError):
    """A file could not be decrypted."""


def require_age() -> None:
    """Make sure, before anything is written, that files can be encrypted.

    Raises:
        MissingExtraError: The extra `age` is not installed.
    """
    _pyrage()


def encrypted_limit(plain_bytes: int) -> int:
    """The most bytes of an age file for one recipient that holds `plain_bytes`."""
    chunks = max(1, -(-plain_bytes // _CHUNK_BYTES))
    return plain_bytes + chunks * _TAG_BYTES + _HEADER_ROOM


def generate_identity() -> Identity:
    """A new key from the system's source of randomness.

    Raises:
        MissingExtraError: The extra `age` is not installed.
    """
    secret = _pyrage().x25519.Identity.generate()
    return Identity(str(secret.to_public()), secret)


def save_identity(path: Path, identity: Identity) -> None:
    """Write `identity` as `age-keygen` does, readable by its owner alone.

    Raises:
        StorageError: There is a file already, or the folder cannot be written.
    """
    if path.exists() or path.is_symlink():
        expected, found = "a file that does not exist yet", "one that a new key would destroy"
        remedy = "Choose another path, or move the old key away first."
        raise StorageError(Problem(expected, found, path.name, remedy))
    text = f"# public key: {identity.recipient}\n{identity._secret}\n"  # noqa: SLF001  (its home)
    write_bytes(path, text.encode(), mode=stat.S_IRUSR | stat.S_IWUSR)


def load_identity(path: Path) -> Identity:
    """Read an identity that `save_identity` or `age-keygen` wrote.

    Raises:
        MissingExtraError: The extra `age` is not installed.
        StorageError: The file is missing or unreadable, or holds not exactly one X25519 key.
    """
    pyrage = _pyrage()
    remedy = "Give the file that `envoi server keygen --identity` wrote."
    text = read_text(path, what="an age identity", remedy=remedy)
    lines = [line.strip() for line in text.splitlines()]
    secrets = [line for line in lines if line and not line.startswith("#")]
    if len(secrets) != 1 or not secrets[0].startswith(_SECRET):
        raise StorageError(Problem("one age identity", "something else", path.name, remedy))
    try:
        secret = pyrage.x25519.Identity.from_str(secrets[0])
    except pyrage.IdentityError as err:
        raise StorageError(Problem("an age identity", "a damaged one", path.name, remedy)) from err
    return Identity(str(secret.to_public()), secret)


def encrypt_file(source: Path, target: Path, recipient: str) -> None:
    """Write `source`, encrypted to `recipient`, to `target`: whole, or not at all.

    Args:
        source: Any file.
        target: Where the age file appears.
        recipient: The server's, from the study.

    Raises:
        MissingExtraError: The extra `age` is not installed.
        StorageError: The file cannot be written.
    """
    pyrage = _pyrage()
    key = pyrage.x25519.Recipient.from_str(recipient)
    with source.open("rb") as plain, writing(target) as file:
        try:
            pyrage.encrypt_io(plain, file, [key])
        except pyrage.EncryptError as err:  # it keeps of a system's error its text alone
            found = re.search(r"Errno (\d+)", str(err))
            number = int(found[1]) if found else errno.EIO
            raise OSError(number, os.strerror(number)) from err


def decrypt(source: Source, sink: Sink, identity: Identity, *, limit: int) -> None:
    """Decrypt an age file from `source` into `sink`.

    What was written before an error is not whole and must be thrown away.

    Args:
        source: The age file, at its beginning.
        sink: Takes the plain bytes.
        identity: Private key of the server.
        limit: Most plain bytes that are written.

    Raises:
        MissingExtraError: The extra `age` is not installed.
        NotDecryptedError: It was not encrypted to this key, was changed or cut, or holds more
            than `limit` bytes.
        OSError: Reading or writing failed.
    """
    pyrage = _pyrage()
    bounded = _Bounded(sink, limit)
    with _told_plainly(pyrage, bounded):
        pyrage.decrypt_io(source, bounded, [identity._secret])  # noqa: SLF001  (its home)


@dataclass(slots=True)
class _Bounded:
    """Passes bytes on, and stops at the limit."""

    sink: Sink
    left: int
    is_full: bool = False

    def write(self, content: bytes) -> int:
        self.left -= len(content)
        if self.left < 0:
            self.is_full = True
            raise OSError(0, "more than the limit")
        self.sink.write(content)
        return len(content)

    def flush(self) -> None:
        """Required by pyrage; whoever opened the sink flushes it."""


@contextmanager
def _told_plainly(pyrage: ModuleType, bounded: _Bounded) -> Iterator[None]:
    changed = "one that was changed or cut on its way", "Copy the file again."
    try:
        yield
    except pyrage.DecryptError as err:
        is_foreign = "No matching keys" in str(err)
        raise _not_decrypted(*(_FOREIGN if is_foreign else changed)) from err
    except OSError as err:
        if bounded.is_full:
            raise _not_decrypted(*_TOO_MUCH) from err
        if err.errno:
            raise
        # So pyrage says that a chunk is not what was encrypted, or that there is no last one.
        raise _not_decrypted(*changed) from err


def _not_decrypted(found: str, remedy: str) -> NotDecryptedError:
    expected = "a file that was encrypted to this server's key"
    return NotDecryptedError(Problem(expected, found, "file", remedy))


def _pyrage() -> Any:  # noqa: ANN401  (a module without types)
    try:
        import pyrage  # noqa: PLC0415  (an extra)
    except ImportError as err:
        remedy = "In Envoi's repository run: pip install '.[age]'"
        raise MissingExtraError(Problem("pyrage", "none", "encryption", remedy)) from err
    return pyrage
