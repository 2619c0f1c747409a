"""Who has sent what: the server's one durable record of the files that came in.

ledger.json in the server's folder, written whole after every change. File names and reasons
come from strangers; they are kept short and printable. Loads no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from envoi.errors import Problem, StorageError, StudyError
from envoi.files import read_text, write_bytes
from envoi.study import Study
from envoi.submission.receipt import Cause, Verdict

LEDGER = "ledger.json"
ACCEPTED = "accepted"
INCOMING = ".incoming"
NAME_LIMIT = 80
REASON_LIMIT = 400
State = Verdict
_WITHDRAWN_BY = {
    Cause.BY_SITE: "withdrawn by the site",
    Cause.BY_COORDINATOR: "withdrawn by the coordinator",
    Cause.REVOKED: "withdrawn: the coordinator has revoked the site's key",
}


def clock() -> datetime:
    """Now by this machine's clock, to the second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


class Retry(StrEnum):
    """When content that was refused is judged anew."""

    NEVER = "never"
    LATE = "late"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that came in.

    Attributes:
        file: Its name in the inbox, shortened and printable.
        digest: SHA-256 of the file as it came; for one too large to be read, its size and time.
        site: That signed it, or None where nothing could be believed.
        sequence: The site's number of the file, or None.
        state: What became of it.
        reason: Why it is not received, else empty.
        bytes: Its size.
        retry: When the same content is judged anew: never, once late files are taken, or as
            soon as it is in the inbox (its copy was lost).
        content: SHA-256 of what was in it, if it came encrypted; else None.
        cause: Why it is not received, in a word that may travel; None if it is, and in ledgers
            from before there were causes.
        time: When `state` was noted, by this machine's clock; None in ledgers from before.
        notice: Whether it was taken for a withdrawal notice.
    """

    file: str
    digest: str
    site: str | None
    sequence: int | None
    state: State
    reason: str
    bytes: int
    retry: Retry = Retry.NEVER
    content: str | None = None
    cause: Cause | None = None
    time: datetime | None = None
    notice: bool = False

    @property
    def copy_digest(self) -> str:
        """SHA-256 of the accepted copy, which is never encrypted."""
        return self.content or self.digest

    @property
    def copy_name(self) -> str:
        """Name of the accepted copy."""
        return f"{self.site}-{self.sequence}.safetensors"


@dataclass(frozen=True, slots=True)
class Revocation:
    """A site whose key is refused in this folder.

    Attributes:
        site: Its id.
        fingerprint: Of the key that the study has for it.
        reason: In the coordinator's words; it stays in this folder.
        time: By this machine's clock.
    """

    site: str
    fingerprint: str
    reason: str
    time: datetime


@dataclass(frozen=True, slots=True)
class Ledger:
    """All files that came in, in the order in which they were looked at.

    Attributes:
        study: Digest of the study that they were judged by.
        entries: One for each file.
        revoked: Sites whose keys are refused.
        ignored: What the last `collect` passed over, and why; not kept.
    """

    study: str
    entries: tuple[Entry, ...] = ()
    revoked: tuple[Revocation, ...] = ()
    ignored: tuple[str, ...] = ()

    def current(self) -> tuple[Entry, ...]:
        """The received files, one of each site, by site."""
        received = [entry for entry in self.entries if entry.state is State.RECEIVED]
        return tuple(sorted(received, key=lambda entry: entry.site or ""))

    def kept(self) -> frozenset[str]:
        """Names of the accepted copies that are kept: received and superseded ones."""
        states = {State.RECEIVED, State.SUPERSEDED}
        return frozenset(entry.copy_name for entry in self.entries if entry.state in states)

    def highest(self) -> Mapping[str, int]:
        """The highest sequence number of each site, of files that were believed."""
        highest: dict[str, int] = {}
        for entry in self.entries:
            if entry.state is not State.REFUSED and entry.site and entry.sequence is not None:
                highest[entry.site] = max(entry.sequence, highest.get(entry.site, 0))
        return highest

    def known(self, digest: str, *, late: bool) -> Entry | None:
        """The file of this content that was judged for good; `late` files may be taken now."""
        again = {Retry.PRESENT, Retry.LATE} if late else {Retry.PRESENT}
        same = (old for old in self.entries if digest in {old.digest, old.content})
        return next((old for old in same if old.retry not in again), None)

    def revocation(self, site: str | None) -> Revocation | None:
        """The revocation of the site's key, if there is one."""
        return next((past for past in self.revoked if past.site == site), None)

    def repetition(self, entry: Entry) -> str:
        """Why the number of `entry` cannot be used by its site any more, or nothing."""
        site, number = entry.site or "", entry.sequence or 0
        latest = self.highest().get(site, -1)
        if number > latest:
            return ""
        again = f"let the site write it again: `envoi site submit --sequence {latest + 1}` or above"
        used = (e for e in self.entries if (e.site, e.sequence) == (site, number))
        if any(e.state is not State.REFUSED and not e.notice for e in used):
            return (
                f"expected one file of {site} under number {number}, found a second, of other "
                f"content. The first one stays as it is; {again}."
            )
        return (
            f"expected a sequence number above {latest} from {site}, found {number}. If it is to "
            f"count, {again}."
        )

    def ignoring(self, file: str, reason: str) -> "Ledger":
        """With one more file that was passed over."""
        line = f"{printable(file, NAME_LIMIT)}: {reason}"
        return replace(self, ignored=(*self.ignored, line))

    def adding(self, entry: Entry) -> "Ledger":
        """With one more file; a received one supersedes what its site sent before.

        It takes the place of the same content, and of what was refused under the same name with
        fewer bytes: an unfinished copy of this file. Places tell when a file came first.
        """
        time = clock()
        replaced = [_replaced(old, entry) for old in self.entries]
        place = replaced.index(True) if any(replaced) else len(replaced)
        entries = [old for old, gone in zip(self.entries, replaced, strict=True) if not gone]
        if entry.state is State.RECEIVED:
            reason = f"number {entry.sequence} of this site came later"
            entries = [
                replace(old, state=State.SUPERSEDED, reason=reason, cause=Cause.NEWER, time=time)
                if old.site == entry.site and old.state is State.RECEIVED
                else old
                for old in entries
            ]
        return replace(
            self, entries=(*entries[:place], replace(entry, time=time), *entries[place:])
        )

    def withdrawing(self, site: str, *, up_to: int | None, cause: Cause) -> "Ledger":
        """With the site's files up to number `up_to` (None: all of them) withdrawn."""
        reason, time = _WITHDRAWN_BY[cause], clock()
        return replace(
            self,
            entries=tuple(
                replace(old, state=State.WITHDRAWN, reason=reason, cause=cause, time=time)
                if old.site == site
                and old.state in {State.RECEIVED, State.SUPERSEDED}
                and (up_to is None or (old.sequence or 0) <= up_to)
                else old
                for old in self.entries
            ),
        )

    def losing(self, entry: Entry) -> "Ledger":
        """With the accepted copy of `entry` gone: it counts again once its content is back."""
        reason = "its copy on the server is lost or changed; put the file into the inbox again"
        lost = _expected(entry, reason, Cause.LOST)
        return replace(self, entries=tuple(lost if e == entry else e for e in self.entries))

    def revoking(self, revocation: Revocation) -> "Ledger":
        """With a site's key refused from now on, and all that it sent withdrawn."""
        after = self.withdrawing(revocation.site, up_to=None, cause=Cause.REVOKED)
        others = [past for past in self.revoked if past.site != revocation.site]
        return replace(after, revoked=(*others, revocation))

    def restoring(self, site: str) -> "Ledger":
        """With the revocation of `site` undone.

        Its last file, and those refused meanwhile, count again once they are in the inbox.
        """
        reason = "the revocation was undone; put the file into the inbox again"
        hit = [e for e in self.entries if e.site == site and e.cause is Cause.REVOKED]
        last = max((e.sequence or 0 for e in hit if e.state is State.WITHDRAWN), default=None)
        back = {
            entry: _expected(entry, reason, Cause.LOST)
            for entry in hit
            if entry.state is State.REFUSED or entry.sequence == last
        }
        revoked = tuple(past for past in self.revoked if past.site != site)
        entries = tuple(back.get(entry, entry) for entry in self.entries)
        return replace(self, entries=entries, revoked=revoked)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a study has come.

    Attributes:
        received: Sites whose file counts.
        missing: Sites of the roster without one, but for those whose keys are revoked.
        minimum: Sites that the server waits for.
    """

    received: tuple[str, ...]
    missing: tuple[str, ...]
    minimum: int

    @property
    def ready(self) -> bool:
        """Whether enough sites have sent."""
        return len(self.received) >= self.minimum


def standing(ledger: Ledger, study: Study) -> Standing:
    """How far the study has come."""
    received = tuple(entry.site for entry in ledger.current() if entry.site)
    revoked = {past.site for past in ledger.revoked}
    missing = tuple(sorted(set(study.sites) - set(received) - revoked))
    return Standing(received, missing, study.minimum_sites)


def load_ledger(folder: Path) -> Ledger:
    """The ledger of a server folder.

    Raises:
        StorageError: There is none, or it cannot be read.
    """
    remedy = "Run `envoi server collect` with this folder first, or restore the file."
    text = read_text(folder / LEDGER, what="the ledger of a server folder", remedy=remedy)
    try:
        return TypeAdapter(Ledger).validate_json(text)
    except ValidationError as err:
        remedy = "Restore it from a backup, or collect into a new folder."
        raise StorageError(_problem_of(err, remedy)) from err


def save_ledger(folder: Path, ledger: Ledger) -> None:
    """Write the ledger of a server folder.

    Raises:
        StorageError: The folder cannot be written.
    """
    content = TypeAdapter(Ledger).dump_json(replace(ledger, ignored=()), indent=2)
    write_bytes(folder / LEDGER, content + b"\n")


def check_study(ledger: Ledger, study: Study) -> None:
    """Refuse a ledger that was kept for another study.

    Raises:
        StudyError: It was.
    """
    if ledger.study != study.digest:
        raise StudyError(
            Problem(
                f"the study of this folder, {ledger.study[:12]}...",
                f"another study, {study.digest[:12]}...",
                LEDGER,
                "Restore that study.toml, or start a new folder: all sites send again.",
            )
        )


def printable(text: str, limit: int) -> str:
    """`text` from a stranger, fit for a terminal and a table: no control characters, bounded."""
    clean = "".join(char if char.isprintable() else "?" for char in text[: limit + 1])
    return clean if len(clean) <= limit else f"{clean[: limit - 3]}..."


def _problem_of(err: ValidationError, remedy: str) -> Problem:
    """Damage and another version are told apart: a file cut short is no JSON any more."""
    faults = err.errors(include_input=False, include_url=False)
    if any(fault["type"] == "json_invalid" for fault in faults):
        return Problem("a ledger", "a damaged file (no valid JSON)", LEDGER, remedy)
    found = "1 wrong field" if len(faults) == 1 else f"{len(faults)} wrong fields"
    return Problem("a ledger of this version", found, LEDGER, remedy)


def _expected(entry: Entry, reason: str, cause: Cause) -> Entry:
    """`entry`, to be judged anew as soon as its content is in the inbox."""
    if entry.state is State.REFUSED:
        cause = entry.cause or cause
    anew = replace(entry, state=State.REFUSED, reason=reason, cause=cause, time=clock())
    return replace(anew, retry=Retry.PRESENT)


def _replaced(old: Entry, new: Entry) -> bool:
    unfinished = old.file == new.file and old.bytes < new.bytes
    return old.state is State.REFUSED and (unfinished or old.copy_digest == new.copy_digest)
