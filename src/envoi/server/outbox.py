"""The outbox: a signed receipt for every file that the ledger tells of, for sites to fetch.

    SITE-NUMBER.receipt.json                        a submission that counts or once did
    SITE-NUMBER.withdrawal.receipt.json             a withdrawal notice
    SITE-NUMBER.refused-<16 digits>.receipt.json    a file of a site that does not count
    unknown.refused-<16 digits>.receipt.json        a file in which nothing was believed

The sixteen digits are those of the file's SHA-256. Receipts follow from the ledger alone: the same
ledger gives the same bytes, and a receipt that a kill has prevented is written by the next run.
Strangers cannot fill the outbox: of refused files the last `REFUSED_LIMIT` have receipts, older
ones are removed. Nothing but files of these last two names is ever deleted.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from envoi.errors import Problem, StorageError
from envoi.files import digest, write_bytes
from envoi.server.inbox import NOTICE_SUFFIX
from envoi.server.ledger import Entry, Ledger, State
from envoi.server.left import left_by
from envoi.study import Study
from envoi.submission.by_server import check_signing_key
from envoi.submission.keys import fingerprint, public_text
from envoi.submission.receipt import SUFFIX, Cause, Receipt, signed_receipt

REFUSED_LIMIT = 1000
_REFUSED_NAME = re.compile(r"[a-z0-9-]+\.refused-[0-9a-f]{16}\.receipt\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Outbox:
    """A folder for receipts, and the key that signs them."""

    folder: Path
    key: Ed25519PrivateKey

    def check(self, study: Study, *, apart_from: tuple[Path, ...]) -> None:
        """Refuse, before any work, a folder or a key that cannot serve.

        Args:
            study: Must name the key.
            apart_from: Folders in which receipts would be taken for something else.

        Raises:
            StorageError: The folder is one of those.
            StudyError: The study names another key, or none.
        """
        for other in apart_from:
            if self.folder.resolve() == other.resolve():
                expected, found = "a folder of its own for receipts", "one that is in use"
                remedy = "Keep inbox, outbox and the server's folder apart."
                raise StorageError(Problem(expected, found, self.folder.name, remedy))
        check_signing_key(study, self.key)

    def write(self, ledger: Ledger) -> None:
        """Write the receipt of every file, and remove those of refusals that no longer hold.

        Raises:
            StorageError: The folder cannot be read or written.
        """
        server = fingerprint(public_text(self.key))
        refused = [entry for entry in ledger.entries if entry.state is State.REFUSED]
        told = [*(e for e in ledger.entries if e.state is not State.REFUSED)]
        told += refused[-REFUSED_LIMIT:]
        receipts = {receipt_name(entry): _receipt(entry, ledger, server) for entry in told}
        for name, receipt in receipts.items():
            content, path = signed_receipt(receipt, self.key), self.folder / name
            if not _holds(path, content):
                write_bytes(path, content)
        try:
            for path in self.folder.glob("*.receipt.json"):
                if _REFUSED_NAME.fullmatch(path.name) and path.name not in receipts:
                    path.unlink(missing_ok=True)
        except OSError as err:
            found, remedy = err.strerror or "an error", "Make the outbox writable."
            where = self.folder.name
            raise StorageError(Problem("a writable outbox", found, where, remedy)) from err


def receipt_name(entry: Entry) -> str:
    """Name of the receipt of a file."""
    owner = f"{entry.site}-{entry.sequence}" if entry.site else "unknown"
    if entry.state is State.REFUSED and entry.cause is not Cause.LOST:
        key = _sha256(entry) or digest(entry.digest.encode())
        return f"{owner}.refused-{key[:16]}{SUFFIX}"
    return f"{owner}.withdrawal{SUFFIX}" if _is_notice(entry) else f"{owner}{SUFFIX}"


def _receipt(entry: Entry, ledger: Ledger, server: str) -> Receipt:
    is_notice = _is_notice(entry)
    left = left_by(entry, ledger) if is_notice else None
    return Receipt(
        study=ledger.study,
        kind="withdrawal" if is_notice else "submission",
        site=entry.site,
        sequence=entry.sequence,
        sha256=_sha256(entry),
        bytes=entry.bytes,
        verdict=entry.state,
        reason=entry.cause,
        time=entry.time,
        server=server,
        still_counting=None if left is None else left.counting,
    )


def _is_notice(entry: Entry) -> bool:
    # Ledgers from before `notice` know it by the file's name.
    return entry.notice or entry.file.endswith(NOTICE_SUFFIX)


def _sha256(entry: Entry) -> str | None:
    return entry.digest if _SHA256.fullmatch(entry.digest) else None


def _holds(path: Path, content: bytes) -> bool:
    """Whether the file is there as it should be."""
    try:
        is_same_size = path.is_file() and path.stat().st_size == len(content)
        return is_same_size and path.read_bytes() == content
    except OSError:
        return False
