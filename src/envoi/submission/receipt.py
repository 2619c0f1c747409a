"""What the server says about one file, signed: a receipt that a site can keep and check.

No field takes free text: why a file does not count is one of a few words (`Cause`), since a
refused file may name anything, and a receipt travels. Times are the server's clock's; they are
told and never trusted. Loads no torch.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    model_serializer,
)

from envoi.submission.by_server import ServerForm
from envoi.submission.manifest import Digest, Sequence, SiteId

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
    Cause.NUMBER_USED: "the site sent another file under this number or a higher one before: "
    "write it again with a higher --sequence",
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
        still_counting: Of a withdrawal the number of a file that came before it, is above what it
            takes back and counts; None, and then not in the file, where there is none.
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
    still_counting: Sequence | None = None

    @model_serializer(mode="wrap")
    def _written(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """As receipts were before there was `still_counting`, where there is none."""
        fields = handler(self)
        if self.still_counting is None:
            del fields["still_counting"]
        return fields


_FORM = ServerForm("receipt", "a receipt", Receipt, SIGNING_DOMAIN, SIZE_LIMIT, _ASK_AGAIN)


def signed_receipt(receipt: Receipt, key: Ed25519PrivateKey) -> bytes:
    """The content of the receipt's file; the same receipt and key give the same bytes."""
    return _FORM.signed(receipt, key).encode()


def open_receipt(path: Path, *, public_key: str) -> Receipt:
    """Read a receipt, once the server's signature on it has been checked.

    Args:
        path: The receipt.
        public_key: The server's, from the study.

    Raises:
        CheckError: It is no receipt, or another key signed it.
        SubmissionError: The file cannot be read.
    """
    return _FORM.opened(path, public_key=public_key)


def told_time(time: datetime | None) -> str:
    """A time for people, or that there is none."""
    return "at a time that was not noted" if time is None else f"on {time:%Y-%m-%d %H:%M} UTC"
