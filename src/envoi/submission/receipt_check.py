"""Does this receipt say that the study's server has received this very file?

A receipt proves what its server signed. It does not prove that the server still has the file, or
when it came: times are told by the server's clock, and a strange one is a warning and no more.
"""

import hashlib
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from envoi.errors import CheckError, EnvoiWarning, Problem
from envoi.study import Study
from envoi.submission import strict_json
from envoi.submission.by_server import signing_key_of
from envoi.submission.intake import Intake, intake
from envoi.submission.keys import fingerprint
from envoi.submission.kinds import BEGINNING_BYTES, LENGTH_BYTES, Kind, kind_of
from envoi.submission.receipt import SENTENCES, Receipt, Verdict, open_receipt, told_time
from envoi.submission.refusal import shown

CLOCK_TOLERANCE = timedelta(days=1)
_HEADER_LIMIT = 8 * 2**20
_OTHER_FILE = "Give the file that was sent, or ask the coordinator for its receipt."
_EXPECTED_VERDICT = {"submission": Verdict.RECEIVED, "withdrawal": Verdict.WITHDRAWN}


@dataclass(frozen=True, slots=True)
class Sent:
    """A file as the site has it; nothing in it is verified.

    Attributes:
        kind: By its first bytes.
        site: That it names; None where it cannot be read, as in an encrypted file.
        sequence: That it names, or None.
        sha256: Of its bytes.
        bytes: Its size.
    """

    kind: Kind | None
    site: str | None
    sequence: int | None
    sha256: str
    bytes: int


def sent_file(path: Path) -> Sent:
    """What a file at a site is.

    Raises:
        SubmissionError: It cannot be read.
    """
    with intake(path) as source:
        sha256 = hashlib.file_digest(source.file, "sha256").hexdigest()
        source.file.seek(0)
        kind = kind_of(source.read(min(source.size, BEGINNING_BYTES)))
        source.file.seek(0)
        named = _named(source, kind)
    site, sequence = named.get("site"), named.get("sequence")
    return Sent(
        kind,
        site if isinstance(site, str) else None,
        sequence if type(sequence) is int else None,
        sha256,
        source.size,
    )


def check_receipt(
    path: Path,
    *,
    study: Study,
    file: Path,
    site: str | None = None,
    sequence: int | None = None,
    now: datetime | None = None,
) -> Receipt:
    """The receipt at `path`, if it says that the study's server has received `file`.

    Of a withdrawal notice it must say that it was carried out.

    Args:
        path: The receipt.
        study: Names the server's key.
        file: As the site sent it; the encrypted one, if it was encrypted.
        site: That the receipt must name; None is the one in the file, where it can be read.
        sequence: Likewise.
        now: By this machine's clock; None is now.

    Raises:
        CheckError: Something does not match; everything that does not.
        StudyError: The study names no server key.
        SubmissionError: One of the files cannot be read.
    """
    public_key = signing_key_of(study)
    receipt, sent = open_receipt(path, public_key=public_key), sent_file(file)
    wanted = {
        "study": (study.digest, receipt.study),
        "server": (fingerprint(public_key), receipt.server),
        "kind of file": (_kind_wanted(sent.kind), receipt.kind),
        "SHA-256 of the file": (sent.sha256, receipt.sha256),
        "bytes of the file": (sent.bytes, receipt.bytes),
        "site": (site or sent.site or receipt.site, receipt.site),
        "number": (_first(sequence, sent.sequence, receipt.sequence), receipt.sequence),
    }
    problems = [
        Problem(shown(expected), shown(found), f"receipt, {what}", _OTHER_FILE)
        for what, (expected, found) in wanted.items()
        if expected != found
    ]
    if receipt.verdict is not _EXPECTED_VERDICT[receipt.kind]:
        problems.append(_problem_of_verdict(receipt))
    if problems:
        raise CheckError(*problems)
    _warn_of_clock(receipt, now or datetime.now(UTC))
    return receipt


def _problem_of_verdict(receipt: Receipt) -> Problem:
    why = f": {SENTENCES[receipt.reason]}" if receipt.reason else ""
    expected, found = _EXPECTED_VERDICT[receipt.kind], f"{receipt.verdict}{why}"
    remedy = "Talk to the coordinator; the file does not count as it is."
    return Problem(expected, found, "receipt, verdict", remedy)


def _warn_of_clock(receipt: Receipt, now: datetime) -> None:
    if receipt.time is not None and receipt.time > now + CLOCK_TOLERANCE:
        line = (
            f"The receipt is dated {told_time(receipt.time).removeprefix('on ')}, and it is "
            f"{now:%Y-%m-%d %H:%M} UTC here: one of the two clocks is wrong."
        )
        warnings.warn(line, EnvoiWarning, stacklevel=3)


def _kind_wanted(kind: Kind | None) -> str:
    if kind in {Kind.SUBMISSION, Kind.ENCRYPTED}:
        return "submission"
    return "withdrawal" if kind is Kind.WITHDRAWAL else "a submission or a withdrawal notice"


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _named(source: Intake, kind: Kind | None) -> dict[str, Any]:
    """The fields of the manifest or the notice in a file, or none."""
    if kind is Kind.SUBMISSION:
        length = int.from_bytes(source.read(LENGTH_BYTES), "little")
        left = source.size - LENGTH_BYTES
        header = _parsed(source.read(length)) if length <= min(left, _HEADER_LIMIT) else {}
        metadata = header.get("__metadata__")
        text = metadata.get("manifest") if isinstance(metadata, dict) else None
        return _parsed(text) if isinstance(text, str) else {}
    if kind is Kind.WITHDRAWAL:
        notice = _parsed(source.read(min(source.size, BEGINNING_BYTES))).get("notice")
        return notice if isinstance(notice, dict) else {}
    return {}


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        value = strict_json.parse(text)
    except strict_json.JsonError:
        return {}
    return value if isinstance(value, dict) else {}
