"""A site takes its files back: a small signed JSON notice.

A notice withdraws every submission of the site up to and including its sequence number; a
repeated notice therefore never touches a later submission.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from envoi.files import write_text
from envoi.study import Study
from envoi.submission.refusal import refused
from envoi.submission.statement import Form, Statement
from envoi.submission.write import check_signer

SIGNING_DOMAIN = b"envoi withdrawal v1\n"
SIZE_LIMIT = 2048
REMEDY = "Ask the site to write the notice again with `envoi site withdraw`."


class _Notice(Statement):
    schema_version: Literal[1] = 1
    action: Literal["withdraw"] = "withdraw"


_FORM = Form("notice", "a withdrawal notice", _Notice, SIGNING_DOMAIN, SIZE_LIMIT, REMEDY)


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
    write_text(path, _FORM.signed(notice, key))


def open_withdrawal(path: Path, *, study: Study) -> Withdrawal:
    """Read a notice, or say in one line why it is refused.

    Raises:
        SubmissionError: The file is refused; always with exactly one problem.
        SignatureError: Its site did not sign it.
    """
    notice, where = _FORM.opened(path, study=study)
    if notice.study != study.digest:
        raise refused(where, "a notice of this study", "one of another study", REMEDY)
    return Withdrawal(notice.site, notice.sequence)
