"""One file on its way from the inbox into the ledger.

Copied, verified from the copy, moved into `accepted`, noted: in this order, each step durable.
"""

import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from envoi.errors import Problem, StorageError, SubmissionError
from envoi.files import file_digest, writing
from envoi.server.inbox import NOTICE_SUFFIX, blocks, bounded_digest, opened
from envoi.server.ledger import (
    ACCEPTED,
    INCOMING,
    NAME_LIMIT,
    REASON_LIMIT,
    Entry,
    Ledger,
    Retry,
    State,
    printable,
    save_ledger,
)
from envoi.study import Study
from envoi.submission import largest_submission_bytes, open_submission, open_withdrawal
from envoi.submission.withdrawal import SIZE_LIMIT as NOTICE_BYTES


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file of the inbox.

    Attributes:
        path: In the inbox.
        folder: The server's, which is locked by the caller.
        study: Judges the file.
        late: Whether it may have come after the deadline.
    """

    path: Path
    folder: Path
    study: Study
    late: bool

    def noted_in(self, ledger: Ledger) -> Ledger:
        """The ledger with this file in it, durable before this returns.

        Raises:
            OSError: The file cannot be read.
            StorageError: The folder cannot be written.
        """
        with opened(self.path) as file:
            status = os.fstat(file.fileno())
            if status.st_size > self._limit:
                key = f"unread: {self._name}, {status.st_size} bytes, {status.st_mtime_ns}"
                entry = self._too_large(key, status.st_size)
                return ledger if ledger.knows(key, late=False) else self._saved(ledger, entry)
            if ledger.knows(bounded_digest(file, self._limit), late=self.late):
                return ledger
            copy = self._copied(file)
        arrived = datetime.fromtimestamp(status.st_ctime, UTC)
        return self._saved(ledger, self._judged(copy, arrived, ledger))

    def _judged(self, copy: Path, arrived: datetime, ledger: Ledger) -> Entry:
        """What becomes of the verified, or refused, copy."""
        found = Entry(
            file=self._name,
            digest=file_digest(copy),
            site=None,
            sequence=None,
            state=State.REFUSED,
            reason="",
            bytes=copy.stat().st_size,
        )
        try:
            if self._is_notice:
                notice = open_withdrawal(copy, study=self.study)
                reason = f"the site withdraws its files up to number {notice.sequence}"
                found = replace(found, site=notice.site, sequence=notice.sequence)
                return replace(found, state=State.WITHDRAWN, reason=reason)
            sent = open_submission(copy, study=self.study, received=ledger.highest())
        except SubmissionError as err:
            problem = err.problems[0]
            text = f"expected {problem.expected}, found {problem.found}. {problem.remedy}"
            return replace(found, reason=printable(text, REASON_LIMIT))
        found = replace(found, site=sent.site, sequence=sent.sequence)
        deadline = self.study.deadline
        if deadline is not None and arrived > deadline and not self.late:
            reason = f"it came after the deadline, {deadline:%Y-%m-%d %H:%M} UTC"
            return replace(found, reason=reason, retry=Retry.LATE)
        _move(copy, self.folder / ACCEPTED / found.copy_name)
        return replace(found, state=State.RECEIVED)

    def _saved(self, ledger: Ledger, entry: Entry) -> Ledger:
        after = ledger.adding(entry)
        if entry.state is State.WITHDRAWN and entry.site:
            reason = "withdrawn by the site"
            after = after.withdrawing(entry.site, up_to=entry.sequence, reason=reason)
        save_ledger(self.folder, after)
        return after

    def _copied(self, file: FileIO) -> Path:
        file.seek(0)
        copy = self.folder / INCOMING / "file"
        with writing(copy) as target:
            for block in blocks(file, self._limit):
                target.write(block)
        return copy

    def _too_large(self, key: str, size: int) -> Entry:
        reason = f"expected at most {self._limit} bytes, found {size}. It was not read."
        return Entry(self._name, key, None, None, State.REFUSED, reason, size)

    @property
    def _name(self) -> str:
        return printable(self.path.name, NAME_LIMIT)

    @property
    def _is_notice(self) -> bool:
        return self.path.name.endswith(NOTICE_SUFFIX)

    @property
    def _limit(self) -> int:
        """Bytes of the largest file that may be read."""
        if self._is_notice:
            return NOTICE_BYTES
        return largest_submission_bytes(self.study)


def _move(copy: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        copy.replace(target)
        handle = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as err:
        found = err.strerror or "an error"
        remedy = "Make the server's folder writable; nothing was changed."
        raise StorageError(Problem("a writable folder", found, target.name, remedy)) from err
