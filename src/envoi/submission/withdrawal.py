"""A site takes its files back: a small signed JSON notice.

A notice withdraws every submission of the site up to and including its sequence number; a
repeated notice therefore never touches a later submission.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, ValidationError

from envoi.files import canonical_json, write_text
from envoi.study import Study
from envoi.submission import strict_json
from envoi.submission.intake import intake
from envoi.submission.keys import sign
from envoi.submission.manifest import Digest, Sequence, SiteId
from envoi.submission.refusal import refused
from envoi.submission.verify import check_signature
from envoi.submission.write import check_signer

SIGNING_DOMAIN = b"envoi withdrawal v1\n"
SIZE_LIMIT = 2048
REMEDY = "Ask the site to write the notice again with `envoi site withdraw`."


class _Notice(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    study: Digest
    site: SiteId
    sequence: Sequence
    action: Literal["withdraw"] = "withdraw"


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A site withdraws all its submissions up to `sequence`."""

    site: str
    sequence: int


def write_withdrawal(
    path: Path, *, study: Study, site: str, sequence: int, key: Ed25519PrivateKey
) -> None:
    """Write the notice by which `site` withdraws its submissions up to `sequence`.

    Raises:
        SubmissionError: The sequence number is out of range.
        SignatureError: The roster has no such site, or another key for it.
        StorageError: The file cannot be written.
    """
    check_signer(study, site=site, sequence=sequence, key=key)
    notice = _Notice(study=study.digest, site=site, sequence=sequence)
    signature = sign(key, SIGNING_DOMAIN + _text(notice).encode())
    write_text(path, _file(notice, signature))


def open_withdrawal(path: Path, *, study: Study) -> Withdrawal:
    """Read a notice, or say in one line why it is refused.

    Raises:
        SubmissionError: The file is refused; always with exactly one problem.
        SignatureError: Its site did not sign it.
    """
    with intake(path) as source:
        where = source.where
        if not 0 < source.size <= SIZE_LIMIT:
            found = f"{source.size} bytes"
            raise refused(where, f"at most {SIZE_LIMIT} bytes", found, REMEDY)
        content = source.read(source.size)
        source.require_end()
    notice, signature = _parsed(content, where)
    message = SIGNING_DOMAIN + _text(notice).encode()
    check_signature(study, site=notice.site, message=message, signature=signature, where=where)
    if notice.study != study.digest:
        raise refused(where, "a notice of this study", "one of another study", REMEDY)
    return Withdrawal(notice.site, notice.sequence)


def _parsed(content: bytes, where: str) -> tuple[_Notice, str]:
    try:
        document = strict_json.parse(content)
    except strict_json.JsonError as err:
        raise refused(where, "a withdrawal notice", str(err), REMEDY) from err
    if not isinstance(document, dict) or document.keys() != {"notice", "signature"}:
        raise refused(where, "a notice and a signature", "something else", REMEDY)
    signature = document["signature"]
    try:
        notice = _Notice.model_validate_json(canonical_json(document["notice"]), strict=True)
    except ValidationError as err:
        raise refused(where, "a withdrawal notice", "other fields", REMEDY) from err
    if not isinstance(signature, str) or _file(notice, signature).encode() != content:
        raise refused(where, "the notice in its canonical form", "another one", REMEDY)
    return notice, signature


def _text(notice: _Notice) -> str:
    return canonical_json(notice.model_dump(mode="json"))


def _file(notice: _Notice, signature: str) -> str:
    return canonical_json({"notice": notice.model_dump(mode="json"), "signature": signature}) + "\n"
