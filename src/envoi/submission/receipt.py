"""What the server says about one file, signed: a receipt that a site can keep and check.

No field takes free text: why a file does not count is one of a few words (`Cause`), since a
refused file may name anything, and a receipt travels. Times are the server's clock's; they are
told and never trusted. Loads no torch.
"""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt, ValidationError

from envoi.errors import CheckError, Problem
from envoi.files import canonical_json
from envoi.submission import strict_json
from envoi.submission.intake import intake
from envoi.submission.keys import decode_signature, is_signed, sign
from envoi.submission.manifest import Digest, Sequence, SiteId
from envoi.submission.statement import signed_text, text_of

SIGNING_DOMAIN = b"envoi receipt v1\n"
SIZE_LIMIT = 2048
SUFFIX = ".receipt.json"
_ASK_AGAIN = "Ask the coordinator for the receipt again."

Fingerprint = Annotated[str, Field(pattern=r"^([0-9a-f]{4}-){4}[0-9a-f]{4}\z")]


class Verdict(StrEnum):
    """What became of a file."""

    RECEIVED = "received"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


class Cause(StrEnum):
    """Why a file does not count."""

    NO_SUBMISSION = "no-submission"
    INVALID = "invalid"
    SIGNATURE = "signature"
    ENCRYPTION = "encryption"
    NUMBER_USED = "number-used"
    DEADLINE = "deadline"
    REVOKED = "revoked"
    LOST = "lost"
    NEWER = "newer"
    BY_SITE = "by-site"
    BY_COORDINATOR = "by-coordinator"


SENTENCES: Final = {
    Cause.NO_SUBMISSION: "it is no submission",
    Cause.INVALID: "it is damaged, or of another study: copy it again, compare the study's digest",
    Cause.SIGNATURE: "it is not signed by a site of the study",
    Cause.ENCRYPTION: "it could not be decrypted with the server's key",
    Cause.NUMBER_USED: "the site sent another file under this number or a higher one before",
    Cause.DEADLINE: "it came after the deadline by the server's clock",
    Cause.REVOKED: "the coordinator has revoked the site's key",
    Cause.LOST: "the server lost its copy: deliver the file again",
    Cause.NEWER: "a newer file of the site came",
    Cause.BY_SITE: "the site withdrew it",
    Cause.BY_COORDINATOR: "the coordinator withdrew it",
}


class Receipt(BaseModel):
    """What a server has noted about one file.

    Attributes:
        schema_version: Of this format.
        study: Digest of the study.
        kind: What the file was taken for.
        site: That signed it; None where nothing in it could be believed.
        sequence: Its number among the site's, or None.
        sha256: Digest of the file as it arrived (encrypted, if it was); None where it was too
            large to be read.
        bytes: Its size as it arrived.
        verdict: What became of it.
        reason: Why it does not count; None if it does.
        time: Of the verdict, by the server's clock in UTC; None if it was noted without one.
        server: Fingerprint of the key that signs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    study: Digest
    kind: Literal["submission", "withdrawal"]
    site: SiteId | None
    sequence: Sequence | None
    sha256: Digest | None
    bytes: Annotated[StrictInt, Field(ge=0)]
    verdict: Verdict
    reason: Cause | None
    time: AwareDatetime | None
    server: Fingerprint


def signed_receipt(receipt: Receipt, key: Ed25519PrivateKey) -> bytes:
    """The content of the receipt's file; the same receipt and key give the same bytes."""
    signature = sign(key, SIGNING_DOMAIN + text_of(receipt).encode())
    return _content(receipt, signature)


def open_receipt(path: Path, *, public_key: str) -> Receipt:
    """Read a receipt, once the server's signature on it has been checked.

    Args:
        path: The receipt.
        public_key: The server's, from the study.

    Raises:
        CheckError: It is no receipt, or another key signed it.
        SubmissionError: The file cannot be read.
    """
    with intake(path) as source:
        where = source.where
        if not 0 < source.size <= SIZE_LIMIT:
            expected = f"a receipt of at most {SIZE_LIMIT} bytes"
            raise CheckError(Problem(expected, f"{source.size} bytes", where, _ASK_AGAIN))
        content = source.read(source.size)
    try:
        document = strict_json.parse(content)
        receipt = Receipt.model_validate_json(canonical_json(document["receipt"]))
        signature = document["signature"]
        if not isinstance(signature, str) or _content(receipt, signature) != content:
            raise ValueError("another spelling")  # noqa: TRY301  (told below with the others)
    except (ValueError, TypeError, KeyError) as err:
        found = str(err) if isinstance(err, strict_json.JsonError) else _fault_of(err)
        raise CheckError(Problem("a receipt", found, where, _ASK_AGAIN)) from err
    raw = decode_signature(signature)
    if raw is None or not is_signed(SIGNING_DOMAIN + text_of(receipt).encode(), raw, public_key):
        expected, found = "the signature of the study's server", "one that does not match"
        remedy = "Do not rely on it: it was changed, or another server wrote it."
        raise CheckError(Problem(expected, found, where, remedy))
    return receipt


def _fault_of(err: Exception) -> str:
    return "other fields" if isinstance(err, ValidationError | KeyError) else "something else"


def _content(receipt: Receipt, signature: str) -> bytes:
    return signed_text("receipt", receipt, signature).encode()


def told_time(time: datetime | None) -> str:
    """A time for people, or that there is none."""
    return "at a time that was not noted" if time is None else f"on {time:%Y-%m-%d %H:%M} UTC"
