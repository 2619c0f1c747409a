"""One file on its way from the inbox into the ledger.

Copied (decrypted, if it came encrypted), verified from the copy, moved into `accepted`, noted: in
this order, each step durable.
"""

import os
import warnings
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from envoi.errors import EnvoiWarning, Problem, SignatureError, StorageError, SubmissionError
from envoi.server.inbox import (
    NOTICE_SUFFIX,
    bounded_digest,
    is_notice,
    is_private_key,
    is_unfinished_age,
    opened,
    other_kind,
)
from envoi.server.incoming import Incoming, copied, decrypted
from envoi.server.ledger import (
    ACCEPTED,
    NAME_LIMIT,
    REASON_LIMIT,
    Entry,
    Ledger,
    Retry,
    Revocation,
    State,
    clock,
    printable,
    save_ledger,
)
from envoi.study import Study
from envoi.submission import (
    Submission,
    Withdrawal,
    largest_submission_bytes,
    open_submission,
    open_withdrawal,
)
from envoi.submission.encryption import SUFFIX as AGE_SUFFIX
from envoi.submission.encryption import Identity, encrypted_limit
from envoi.submission.kinds import BEGINNING_BYTES, Kind, kind_of
from envoi.submission.receipt import Cause
from envoi.submission.receipt_check import CLOCK_TOLERANCE
from envoi.submission.refusal import OTHER_SIZE
from envoi.submission.withdrawal import REMEDY as NOTICE_AGAIN
from envoi.submission.withdrawal import SIZE_LIMIT as NOTICE_BYTES

_EXPOSED = (
    "Delete it from here and have the site make a new one with `envoi site keygen`: whoever saw "
    "this one can sign as the site."
)
_RENAME = f"Give it a name that ends in {NOTICE_SUFFIX}."
_FOREIGN = "Take it out of the inbox; a site sends the file that `envoi site submit` writes."
_NOT_ENCRYPTED = (
    "Tell the site that whoever carried it could read it; under a name without .age it is taken."
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file of the inbox.

    Attributes:
        path: In the inbox.
        folder: The server's, which is locked by the caller.
        study: Judges the file.
        late: Whether it may have come after the deadline.
        identity: Decrypts what came encrypted; None passes over it.
    """

    path: Path
    folder: Path
    study: Study
    late: bool
    identity: Identity | None = None

    def noted_in(self, ledger: Ledger) -> Ledger:
        """The ledger with this file in it, durable before this returns.

        Raises:
            MissingExtraError: It is encrypted, and the extra `age` is not installed.
            OSError: The file cannot be read.
            StorageError: The folder cannot be written.
        """
        with opened(self.path) as file:
            status = os.fstat(file.fileno())
            beginning = file.read(BEGINNING_BYTES)
            is_encrypted = not self._is_notice and kind_of(beginning) is Kind.ENCRYPTED
            limit = encrypted_limit(self._limit) if is_encrypted else self._limit
            if status.st_size > limit:
                key = f"unread: {self._name}, {status.st_size} bytes, {status.st_mtime_ns}"
                if ledger.known(key, late=False):
                    return ledger
                return self._saved(ledger, self._too_large(key, status.st_size, limit, beginning))
            file.seek(0)
            old = ledger.known(bounded_digest(file, limit), late=self.late)
            if old and not self._renames(old):
                return self._repeating(old, ledger)
            if not is_encrypted:
                found = copied(file, self.folder, limit=self._limit)
            elif self.identity is None:
                return ledger.ignoring(self.path.name, self._told_encrypted)
            else:
                found = decrypted(file, self.folder, identity=self.identity, limit=self._limit)
        try:
            old = ledger.known(found.content, late=self.late) if found.content else None
            if old:
                return ledger.ignoring(self.path.name, f"the same content as {old.file}")
            arrived = datetime.fromtimestamp(status.st_ctime, UTC)
            return self._saved(ledger, self._judged(found, arrived, ledger))
        finally:
            if found.copy is not None:  # whatever happens, nothing that was decrypted stays here
                found.copy.unlink(missing_ok=True)

    def _repeating(self, old: Entry, ledger: Ledger) -> Ledger:
        """Its content was judged before: told unless it is that very file."""
        if old.file == self._name:
            return ledger
        return ledger.ignoring(self.path.name, f"the same bytes as {old.file}")

    def _renames(self, old: Entry) -> bool:
        """Whether this was refused for its name alone, and has another one now."""
        if old.file == self._name or old.state is not State.REFUSED:
            return False
        if old.file.lower().endswith(AGE_SUFFIX) and old.cause is Cause.ENCRYPTION:
            return not self._name.lower().endswith(AGE_SUFFIX)
        return self._is_notice and not old.file.endswith(NOTICE_SUFFIX)

    def _judged(self, incoming: Incoming, arrived: datetime, ledger: Ledger) -> Entry:
        """What becomes of the verified, or refused, copy."""
        found = self._entry(incoming.digest, incoming.bytes, content=incoming.content)
        copy = incoming.copy
        if copy is None:
            problem = incoming.problem or Problem("a copy", "none", self._name, OTHER_SIZE)
            return _refused(found, _line(problem), Cause.ENCRYPTION)
        with copy.open("rb") as file:
            beginning = file.read(BEGINNING_BYTES)
        if self._is_plain_under_age(incoming) and not is_private_key(beginning, self.path.name):
            return _refused(found, *self._wrongly_named(beginning))
        try:
            if self._is_notice:
                return self._withdrawing(open_withdrawal(copy, study=self.study), found, ledger)
            sent = open_submission(copy, study=self.study)
        except SubmissionError as err:
            return _refused(found, *self._reason(err, beginning))
        return self._taken(copy, sent, arrived, found, ledger)

    def _taken(
        self, copy: Path, sent: Submission, arrived: datetime, found: Entry, ledger: Ledger
    ) -> Entry:
        """A verified submission, unless its site, its number or its time stand against it."""
        found = replace(found, site=sent.site, sequence=sent.sequence)
        if past := ledger.revocation(sent.site):
            return _refused(found, _told_revocation(past), Cause.REVOKED)
        if reason := ledger.repetition(found):
            return _refused(found, reason, Cause.NUMBER_USED)
        _warn_of_clocks(sent.site, sent.manifest.created, arrived)
        deadline = self.study.deadline
        if deadline is not None and arrived > deadline and not self.late:
            reason = _told_deadline(deadline, arrived)
            return replace(_refused(found, reason, Cause.DEADLINE), retry=Retry.LATE)
        _move(copy, self.folder / ACCEPTED / found.copy_name)
        return replace(found, state=State.RECEIVED)

    def _withdrawing(self, notice: Withdrawal, found: Entry, ledger: Ledger) -> Entry:
        found = replace(found, site=notice.site, sequence=notice.sequence)
        if past := ledger.revocation(notice.site):
            return _refused(found, _told_revocation(past), Cause.REVOKED)
        reason = f"the site withdraws its files up to number {notice.sequence}"
        return replace(found, state=State.WITHDRAWN, reason=reason)

    def _saved(self, ledger: Ledger, entry: Entry) -> Ledger:
        after = ledger.adding(entry)
        if entry.state is State.WITHDRAWN and entry.site:
            after = after.withdrawing(entry.site, up_to=entry.sequence, cause=Cause.BY_SITE)
        save_ledger(self.folder, after)
        return after

    def _too_large(self, key: str, size: int, limit: int, beginning: bytes) -> Entry:
        expected, found = f"at most {limit} bytes", f"{size} bytes, too many to be read"
        remedy = NOTICE_AGAIN if self._is_notice else OTHER_SIZE
        error = SubmissionError(Problem(expected, found, self._name, remedy))
        return _refused(self._entry(key, size), *self._reason(error, beginning))

    def _entry(self, digest: str, size: int, *, content: str | None = None) -> Entry:
        found = Entry(self._name, digest, None, None, State.REFUSED, "", size, content=content)
        return replace(found, notice=self._is_notice)

    def _reason(self, error: SubmissionError, beginning: bytes) -> tuple[str, Cause]:
        """Why the file is refused: `error`, unless it plainly is something else."""
        name = self.path.name
        if is_private_key(beginning, name):
            problem = Problem("a submission", "a private key", name, _EXPOSED)
        elif not self._is_notice and is_notice(beginning):
            problem = Problem("a submission", "a withdrawal notice", name, _RENAME)
        elif not self._is_notice and (kind := other_kind(beginning)):
            problem = Problem("a submission", f"no submission but {kind}", name, _FOREIGN)
        else:
            is_unsigned = isinstance(error, SignatureError)
            cause = Cause.SIGNATURE if is_unsigned else Cause.INVALID
            return _line(error.problems[0]), cause
        return _line(problem), Cause.NO_SUBMISSION

    def _is_plain_under_age(self, incoming: Incoming) -> bool:
        return self.path.name.lower().endswith(AGE_SUFFIX) and incoming.content is None

    def _wrongly_named(self, beginning: bytes) -> tuple[str, Cause]:
        """Why a file that is not encrypted is refused under a name that says it is."""
        name, expected = self.path.name, "an encrypted file, as its name says"
        if is_unfinished_age(beginning):
            found, remedy = "the beginning of one", "Copy the file again."
        else:
            found, remedy = "one that is not encrypted", _NOT_ENCRYPTED
        return _line(Problem(expected, found, name, remedy)), Cause.ENCRYPTION

    @property
    def _name(self) -> str:
        return printable(self.path.name, NAME_LIMIT)

    @property
    def _told_encrypted(self) -> str:
        if self.study.server and self.study.server.encryption:
            return "an encrypted file: give the server's identity with --identity"
        return "an encrypted file, and the study names no key to encrypt to"

    @property
    def _is_notice(self) -> bool:
        return self.path.name.endswith(NOTICE_SUFFIX)

    @property
    def _limit(self) -> int:
        """Bytes of the largest file that may be read."""
        if self._is_notice:
            return NOTICE_BYTES
        return largest_submission_bytes(self.study)


def _line(problem: Problem) -> str:
    text = f"expected {problem.expected}, found {problem.found}. {problem.remedy}"
    return printable(text, REASON_LIMIT)


def _refused(entry: Entry, reason: str, cause: Cause) -> Entry:
    return replace(entry, state=State.REFUSED, reason=reason, cause=cause)


def _told_revocation(past: Revocation) -> str:
    return (
        f"expected a key that is valid, found that of {past.site}, revoked on "
        f"{past.time:%Y-%m-%d}. Do not use the file: whoever has the old key can sign as the site."
    )


def _told_deadline(deadline: datetime, arrived: datetime) -> str:
    return (
        f"it came after the deadline, {deadline:%Y-%m-%d %H:%M} UTC: on {arrived:%Y-%m-%d %H:%M} "
        "UTC by the inbox's clock; --late takes it"
    )


def _warn_of_clocks(site: str, created: date, arrived: datetime) -> None:
    """Say that a file cannot have come before it was written, or in the future."""
    if created > (arrived + CLOCK_TOLERANCE).date():
        written = f"its site dated it {created:%Y-%m-%d}"
    elif arrived > clock() + CLOCK_TOLERANCE:
        written = f"this machine's clock says {clock():%Y-%m-%d}"
    else:
        return
    line = f"the file of {site} came on {arrived:%Y-%m-%d} by the inbox's clock, and {written}"
    warnings.warn(f"{line}: one of the two clocks is wrong.", EnvoiWarning, stacklevel=2)


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
        remedy = "Make the server's folder writable."
        raise StorageError(Problem("a writable folder", found, target.name, remedy)) from err
