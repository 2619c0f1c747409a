"""Ed25519 keys (RFC 8032): made once, kept where they were made, known to all by the study.

A site's key signs what it sends, the server's key signs receipts.
"""

import base64
import hashlib
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from envoi.errors import Problem, StorageError
from envoi.files import write_bytes
from envoi.study import decode_key, decode_recipient
from envoi.study.checks import KEY_PREFIX
from envoi.study.server_keys import RECIPIENT_PREFIX

SIGNATURE_BYTES = 64
_KEY_FILE_LIMIT = 16 * 1024


def generate_key() -> Ed25519PrivateKey:
    """A new private key from the system's source of randomness."""
    return Ed25519PrivateKey.generate()


def save_key(path: Path, key: Ed25519PrivateKey) -> None:
    """Write `key` as PKCS #8 PEM, readable by its owner alone.

    Raises:
        StorageError: There is a file already (a lost key cannot be made again) or a folder, or the
            folder cannot be written.
    """
    if path.is_dir():
        remedy = "Name a file in it, or another one."
        raise StorageError(Problem("a file", "a folder of that name", path.name, remedy))
    if path.exists() or path.is_symlink():
        raise StorageError(
            Problem(
                "a file that does not exist yet",
                "a file that a new key would destroy",
                path.name,
                "Choose another path, or move the old key away first.",
            )
        )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_bytes(path, pem, mode=stat.S_IRUSR | stat.S_IWUSR)


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key that `save_key` wrote.

    Raises:
        StorageError: The file is missing or unreadable, or holds no plain Ed25519 key.
    """
    remedy = "Give the key file that `envoi site keygen` or `envoi server keygen` wrote."
    try:
        with path.open("rb") as file:
            pem = file.read(_KEY_FILE_LIMIT)
    except OSError as err:
        found = err.strerror or "an unreadable file"
        raise StorageError(Problem("a private key file", found, path.name, remedy)) from err
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        found = "a key under a passphrase" if isinstance(err, TypeError) else "something else"
        raise StorageError(Problem("an Ed25519 key in PEM", found, path.name, remedy)) from err
    if not isinstance(key, Ed25519PrivateKey):
        raise StorageError(
            Problem("an Ed25519 key in PEM", "a key of another kind", path.name, remedy)
        )
    return key


def public_text(key: Ed25519PrivateKey) -> str:
    """The public half as it stands in a roster: `ed25519:<base64>`."""
    raw = key.public_key().public_bytes_raw()
    return KEY_PREFIX + base64.b64encode(raw).decode()


def fingerprint(public_text: str) -> str:
    """Twenty hexadecimal digits in five groups, short enough to read over the telephone.

    Eighty bits of SHA-256 over the key: nobody finds a second key of the same fingerprint.

    Args:
        public_text: `ed25519:<base64>`, or an age recipient `age1<bech32>`.

    Raises:
        ValueError: `public_text` is no public key.
    """
    is_recipient = public_text.startswith(RECIPIENT_PREFIX)
    raw = decode_recipient(public_text) if is_recipient else decode_key(public_text)
    digits = hashlib.sha256(raw).hexdigest()[:20]
    return "-".join(digits[start : start + 4] for start in range(0, 20, 4))


def sign(key: Ed25519PrivateKey, message: bytes) -> str:
    """The signature of `message` in base64."""
    return base64.b64encode(key.sign(message)).decode()


def decode_signature(text: str) -> bytes | None:
    """The 64 bytes of a signature in base64's standard form, or None if it is none."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    standard = base64.b64encode(raw).decode() == text
    return raw if standard and len(raw) == SIGNATURE_BYTES else None


def is_signed(message: bytes, signature: bytes, public_text: str) -> bool:
    """Whether the owner of the key signed this very message."""
    try:
        Ed25519PublicKey.from_public_bytes(decode_key(public_text)).verify(signature, message)
    except InvalidSignature:
        return False
    return True
