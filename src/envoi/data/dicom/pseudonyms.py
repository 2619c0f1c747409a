"""Pseudonyms: what stands in a file for a patient, an accession number or a UID of a PACS.

Each is an HMAC-SHA256 (RFC 2104) of the original under a secret key of the site. Equal originals
have equal pseudonyms, so whoever has the key can match a table of labels by its original numbers
later, and no table of who is who is kept anywhere. Without the key nobody can tell which original
a pseudonym stands for, not even by trying all numbers that there are.

What this does not do: spaces at the ends and NUL bytes are padding in DICOM and make no
difference, but `0123` and `123` are two numbers. A table that went through a spreadsheet may have
lost its zeros.
"""

import base64
import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from envoi.errors import Problem, StorageError
from envoi.files import NO_SPACE

KEY_BYTES = 32
_HEADER = "envoi-pseudonyms-1"
_LINE = re.compile(rf"{_HEADER} ([0-9a-f]{{{2 * KEY_BYTES}}})\n?")
_REMEDY = "Give the key file that `envoi data keygen` wrote."


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Pseudonyms under one secret key.

    Attributes:
        key: 32 secret bytes.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            found = f"{len(self.key)}"
            raise StorageError(Problem(f"{KEY_BYTES} bytes", found, "key of pseudonyms", _REMEDY))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits by which a folder knows its key again; they do not disclose it."""
        return self._mac("fingerprint")[:8].hex()

    def uid(self, original: str) -> str:
        """What stands for a UID: a UID below `2.25`, of at most 44 characters (PS3.5, B.2)."""
        return f"2.25.{int.from_bytes(self._mac('uid', original)[:16])}"

    def patient(self, original_id: str, issuer: str = "") -> str:
        """What stands for a patient: 32 hexadecimal digits.

        Args:
            original_id: Patient ID (0010,0020).
            issuer: Issuer of Patient ID (0010,0021). Equal ids of two issuers are two patients.
        """
        return self._mac("patient", issuer, original_id)[:16].hex()

    def accession(self, original: str) -> str:
        """What stands for an accession number: 16 characters, as many as an SH value may have."""
        return base64.b32encode(self._mac("accession", original)[:10]).decode()

    def other(self, kind: str, original: str) -> str:
        """What stands for any other text, 32 hexadecimal digits: equal texts of one kind are equal.

        Args:
            kind: Keeps equal texts of different meaning apart, such as `name` and `birth date`.
            original: The text.
        """
        return self._mac("other", kind, original)[:16].hex()

    def _mac(self, kind: str, *originals: str) -> bytes:
        parts = [text.replace("\0", "").strip(" ") for text in originals]
        message = "\0".join([kind, *parts]).encode("utf-8", "surrogateescape")
        return hmac.digest(self.key, message, hashlib.sha256)


def new_pseudonym_key(path: Path) -> Pseudonyms:
    """Make a key and write it, readable by its owner alone; a file that is there is never touched.

    Raises:
        StorageError: There is a file or folder of that name, or the folder cannot be written.
    """
    made = Pseudonyms(secrets.token_bytes(KEY_BYTES))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(f"{_HEADER} {made.key.hex()}\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(stat.S_IRUSR | stat.S_IWUSR)
            # A link, unlike a renamed file, never takes the place of another file.
            path.hardlink_to(temporary)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except FileExistsError as err:
        found = "one that is there already"
        remedy = "Choose another name. A key that is lost cannot be made again: keep the old one."
        raise StorageError(Problem("a new file", found, path.name, remedy)) from err
    except OSError as err:
        found = err.strerror or "an error of the system"
        remedy = "Free some space." if err.errno in NO_SPACE else "Choose another folder."
        raise StorageError(Problem("a writable folder", found, path.name, remedy)) from err
    return made


def load_pseudonym_key(path: Path) -> Pseudonyms:
    """Read a key that `new_pseudonym_key` wrote.

    Raises:
        StorageError: The file is missing, is no such key, or may be read by everybody.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(4 * KEY_BYTES).decode("ascii", "replace")
    except OSError as err:
        found = err.strerror or "an unreadable file"
        raise StorageError(Problem("a key of pseudonyms", found, path.name, _REMEDY)) from err
    line = _LINE.fullmatch(text)
    if line is None:
        raise StorageError(Problem("a key of pseudonyms", "something else", path.name, _REMEDY))
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        found, remedy = "one that everybody may read", f"Run: chmod 600 {path.name}"
        raise StorageError(Problem("a key that is secret", found, path.name, remedy))
    return Pseudonyms(bytes.fromhex(line[1]))
