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
from envoi.server.inbox import (
    BEGINNING_BYTES,
    NOTICE_SUFFIX,
    blocks,
    bounded_digest,
    is_notice,
    is_private_key,
    opened,
    other_kind,
)
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
from envoi.submission.refusal import OTHER_SIZE
from envoi.submission.withdrawal import REMEDY as NOTICE_AGAIN
from envoi.submission.withdrawal import SIZE_LIMIT as NOTICE_BYTES

_EXPOSED = (
    "Delete it from here and have the site make a new one with `envoi site keygen`: whoever saw "
    "this one can sign as the site."
)
_RENAME = f"Give it a name that ends in {NOTICE_SUFFIX}."
_FOREIGN = "Take it out of the inbox; a site sends the file that `envoi site submit` writes."


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
                if ledger.known(key, late=False):
                    return ledger
                beginning = file.read(BEGINNING_BYTES)
                return self._saved(ledger, self._too_large(key, status.st_size, beginning))
            old = ledger.known(bounded_digest(file, self._limit), late=self.late)
            if old and not self._renames(old):
                return self._repeating(old, ledger)
            copy = self._copied(file)
        arrived = datetime.fromtimestamp(status.st_ctime, UTC)
        return self._saved(ledger, self._judged(copy, arrived, ledger))

    def _repeating(self, old: Entry, ledger: Ledger) -> Ledger:
        """Its content was judged before: told unless it is that very file."""
        if old.file == self._name:
            return ledger
        return ledger.ignoring(self.path.name, f"the same bytes as {old.file}")

    def _renames(self, old: Entry) -> bool:
        """Whether this is a notice that was refused under a name of no notice."""
        is_other = old.file != self._name and not old.file.endswith(NOTICE_SUFFIX)
        return self._is_notice and is_other and old.state is State.REFUSED

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
            with copy.open("rb") as file:
                beginning = file.read(BEGINNING_BYTES)
            return replace(found, reason=self._reason(err.problems[0], beginning))
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

    def _too_large(self, key: str, size: int, beginning: bytes) -> Entry:
        expected, found = f"at most {self._limit} bytes", f"{size} bytes, too many to be read"
        remedy = NOTICE_AGAIN if self._is_notice else OTHER_SIZE
        reason = self._reason(Problem(expected, found, self._name, remedy), beginning)
        return Entry(self._name, key, None, None, State.REFUSED, reason, size)

    def _reason(self, problem: Problem, beginning: bytes) -> str:
        """Why the file is refused: `problem`, unless it plainly is something else."""
        expected, found, remedy = problem.expected, problem.found, problem.remedy
        if is_private_key(beginning, self.path.name):
            expected, found, remedy = "a submission", "a private key", _EXPOSED
        elif not self._is_notice and is_notice(beginning):
            expected, found, remedy = "a submission", "a withdrawal notice", _RENAME
        elif not self._is_notice and (kind := other_kind(beginning)):
            expected, found, remedy = "a submission", f"no submission but {kind}", _FOREIGN
        return printable(f"expected {expected}, found {found}. {remedy}", REASON_LIMIT)

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
