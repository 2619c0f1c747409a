"""The server's public keys, as a study may name them: one signs receipts, one encrypts files.

    [server]
    receipts = "ed25519:<base64>"      checks what the server says it has received
    encryption = "age1<bech32>"        sites encrypt their files to it (age-encryption.org/v1)

A study without this table has the digest that it had before the table existed. Bech32 is read as
BIP 173 defines it; its checksum finds any slip of up to four characters.
"""

from pydantic import BaseModel, ConfigDict, StrictStr, field_validator, model_validator

from envoi.errors import Problem, StudyError
from envoi.study.checks import decode_key

RECIPIENT_PREFIX = "age1"
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH = 6
# Every point of small order: the secret shared with it is zero (RFC 7748, section 6.1).
_WEAK_KEYS = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
_FROM_SERVER = "Give the line that `envoi server keygen` printed."


class ServerKeys(BaseModel):
    """Public keys of the server.

    Attributes:
        receipts: Signs receipts, `ed25519:<base64>`; None if the server writes none.
        encryption: age recipient that sites encrypt to, `age1...`; None if files travel open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    receipts: StrictStr | None = None
    encryption: StrictStr | None = None

    @field_validator("receipts")
    @classmethod
    def _check_receipts(cls, key: str | None) -> str | None:
        if key is not None:
            try:
                decode_key(key)
            except ValueError as err:
                expected = "'ed25519:' and 44 base64 characters"
                raise StudyError(Problem(expected, str(err), "receipts", _FROM_SERVER)) from err
        return key

    @field_validator("encryption")
    @classmethod
    def _check_encryption(cls, recipient: str | None) -> str | None:
        if recipient is not None:
            try:
                decode_recipient(recipient)
            except ValueError as err:
                expected = "'age1' and 58 characters"
                raise StudyError(Problem(expected, str(err), "encryption", _FROM_SERVER)) from err
        return recipient

    @model_validator(mode="after")
    def _check_any(self) -> "ServerKeys":
        if self.receipts is None and self.encryption is None:
            remedy = "Enter a key with `envoi study set-server`, or remove the table."
            raise StudyError(Problem("receipts, encryption or both", "none", "server", remedy))
        return self


def decode_recipient(text: str) -> bytes:
    """The 32 bytes of an age recipient written as `age1<bech32>`, in lower case.

    Raises:
        ValueError: It is not written like that; the message says what it is instead.
    """
    if not text.startswith(RECIPIENT_PREFIX):
        raise ValueError(f"text that does not begin with {RECIPIENT_PREFIX!r}")
    letters = text[len(RECIPIENT_PREFIX) :]
    if not letters or set(letters) - set(_ALPHABET):
        raise ValueError("text that is not bech32 in lower case")
    values = [_ALPHABET.index(letter) for letter in letters]
    if _polymod([*_expanded("age"), *values]) != 1:
        raise ValueError("a key with a slip in it: its checksum does not fit")
    raw = _bytes_of(values[:-_CHECKSUM_LENGTH])
    if len(raw) != 32:
        raise ValueError(f"a key of {len(raw)} bytes")
    if raw[:-1] + bytes([raw[-1] & 127]) in _WEAK_KEYS:
        raise ValueError("a weak key: whoever likes could read what is encrypted to it")
    return raw


def _expanded(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _polymod(values: list[int]) -> int:
    found = 1
    for value in values:
        top = found >> 25
        found = (found & 0x1FFFFFF) << 5 ^ value
        for bit, factor in enumerate(_GENERATOR):
            found ^= factor if top >> bit & 1 else 0
    return found


def _bytes_of(values: list[int]) -> bytes:
    """Groups of five bits as bytes; what is left over must be fewer than five zeros."""
    number, bits = 0, 5 * len(values)
    for value in values:
        number = number << 5 | value
    left = bits % 8
    if left >= 5 or number & ((1 << left) - 1):
        raise ValueError("bech32 that is not in its standard form")
    return (number >> left).to_bytes(bits // 8, "big")
