"""Collecting: from files that appear in an inbox to verified copies and a ledger.

    folder/ledger.json                          what became of every file
    folder/accepted/<site>-<number>.safetensors verified copies of what was received
    folder/.incoming/                           a copy that is being verified
    outbox/*.receipt.json                       what became of every file, signed (see `outbox`)

Idempotent and durable: a file is received when the ledger says so, and not before. It is copied,
verified from the copy, renamed into `accepted`, and then noted; a kill in between leaves a copy
without a note, which the next run removes before it takes the same file again. Nothing in the
inbox is changed. Memory is that of one submission, whatever lies in the inbox.

Not known here: whether a site told the truth about its images.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from envoi.errors import Problem, SettingsError, StorageError, StudyError
from envoi.files import file_digest
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo
from envoi.server.arrival import Arrival
from envoi.server.inbox import listed
from envoi.server.ledger import (
    ACCEPTED,
    INCOMING,
    LEDGER,
    NAME_LIMIT,
    REASON_LIMIT,
    Entry,
    Ledger,
    Retry,
    Revocation,
    Standing,
    State,
    check_study,
    clock,
    load_ledger,
    printable,
    save_ledger,
    standing,
)
from envoi.server.outbox import Outbox
from envoi.study import Study
from envoi.submission import Submission, fingerprint, open_submission
from envoi.submission.encryption import Identity
from envoi.submission.receipt import Cause

LOCK = ".lock"


def collect(
    inbox: Path,
    folder: Path,
    *,
    study: Study,
    late: bool = False,
    identity: Identity | None = None,
    outbox: Outbox | None = None,
    on_step: OnStep = ignore_step,
) -> Ledger:
    """Look at every file of the inbox and note what became of it.

    Running it twice, or killing it and running it again, ends in the same ledger. Files are
    taken in the order of their names, withdrawal notices last. A second collector waits for the
    first.

    Args:
        inbox: Where files arrive. Hidden and unfinished files, sub-folders and links are
            passed over, and so is a second file of the same bytes.
        folder: The server's folder for this study; made if need be.
        study: Judges the files.
        late: Take files that arrived after the deadline. A file arrived when this machine last
            changed its inode, a time that its sender cannot set. On a share that is the share's
            clock: one that is off refuses what came in time, or takes what came late.
        identity: Decrypts files that came encrypted; without it they are passed over.
        outbox: Where receipts are written, once every file is judged; None writes none.
        on_step: Told about each file once it is judged.

    Raises:
        MissingExtraError: A file is encrypted, and the extra `age` is not installed.
        StorageError: The inbox cannot be read, the folder cannot be written, or its ledger is
            lost.
        StudyError: The folder belongs to another study, or a key is not the study's.
    """
    files, ignored = listed(inbox, folder)
    if outbox is not None:
        outbox.check(study, apart_from=(inbox, folder))
    if identity is not None:
        check_identity(identity, study)
    with _locked(folder):
        ledger = replace(_recovered(folder, study), ignored=tuple(ignored))
        for number, path in enumerate(files, start=1):
            try:
                ledger = Arrival(path, folder, study, late, identity).noted_in(ledger)
            except StorageError as err:
                raise _stopped(err) from err
            except OSError as err:
                ledger = ledger.ignoring(path.name, err.strerror or "an error of the disk")
            on_step(StepInfo("collect", number, len(files), {}))
        _sweep(folder, ledger)
        if outbox is not None:
            outbox.write(ledger)
    return ledger


def _stopped(err: StorageError) -> StorageError:
    """`err` of the server's folder, with what stays of a collection that it ended."""
    remedy = (
        "Make room in the server's folder, or make it writable, and collect again: what was noted "
        "before this file stays noted."
    )
    return StorageError(*(replace(problem, remedy=remedy) for problem in err.problems))


def check_identity(identity: Identity, study: Study) -> None:
    """Refuse a private key that cannot decrypt what sites of the study encrypt.

    Raises:
        StudyError: The study names another key, or none.
    """
    wanted = study.server.encryption if study.server else None
    if identity.recipient != wanted:
        expected = f"the identity of {wanted}" if wanted else "no identity: the study names no key"
        remedy = "Give the server's own identity, and the study.toml that names it."
        raise StudyError(Problem(expected, identity.recipient, "--identity", remedy))


def withdraw(folder: Path, site: str, *, study: Study) -> Ledger:
    """Withdraw all that `site` sent, by decision of the coordinator.

    Its copies are deleted; the site may come back with a higher number.

    Raises:
        StorageError: There is no ledger, or the folder cannot be written.
        StudyError: The folder belongs to another study, or holds nothing of the site.
    """
    with _locked(folder):
        before = load_ledger(folder)
        check_study(before, study)
        after = before.withdrawing(site, up_to=None, cause=Cause.BY_COORDINATOR)
        if after == before:
            known = ", ".join(standing(before, study).received) or "nobody"
            raise StudyError(
                Problem(
                    f"a site whose file was received ({known})",
                    printable(site, NAME_LIMIT),
                    "site",
                    "Name one of those sites.",
                )
            )
        save_ledger(folder, after)
        _sweep(folder, after)
    return after


def revoke(folder: Path, site: str, *, reason: str, study: Study) -> Ledger:
    """Refuse the key of `site` from now on, and withdraw all that it sent.

    Its copies are deleted. What it signs is refused in this folder, whenever it comes. A site
    gets a new key by another study (`envoi study add-site --replace`), to which all sites send
    again.

    Raises:
        SettingsError: The reason is empty.
        StorageError: The folder cannot be written.
        StudyError: The folder belongs to another study, or the study has no such site.
    """
    reason = printable(" ".join(reason.split()), REASON_LIMIT)
    if not reason:
        remedy = "Say in a few words why, for those who read the ledger later."
        raise SettingsError(Problem("a reason", "none", "--reason", remedy))
    with _locked(folder):
        before = _recovered(folder, study)
        if site not in study.sites:
            raise _no_such_site(site, study.sites)
        if before.revocation(site):
            return before
        key = fingerprint(study.sites[site])
        after = before.revoking(Revocation(site, key, reason, clock()))
        save_ledger(folder, after)
        _sweep(folder, after)
    return after


def restore(folder: Path, site: str, *, study: Study) -> Ledger:
    """Undo a revocation that was a mistake; the site's last file counts again once it is back.

    Raises:
        StorageError: There is no ledger, or the folder cannot be written.
        StudyError: The folder belongs to another study, or the site's key is not revoked.
    """
    with _locked(folder):
        before = load_ledger(folder)
        check_study(before, study)
        if not before.revocation(site):
            raise _no_such_site(site, [past.site for past in before.revoked])
        after = before.restoring(site)
        save_ledger(folder, after)
    return after


def _no_such_site(site: str, known: Iterable[str]) -> StudyError:
    expected, found = f"one of {', '.join(known) or '(none)'}", printable(site, NAME_LIMIT)
    return StudyError(Problem(expected, found, "site", "Name one of those sites."))


def accepted(folder: Path, *, study: Study) -> Iterator[Submission]:
    """The current submissions, by site, one in memory at a time, each verified again.

    Raises:
        StorageError: There is no ledger, or a copy is missing or changed.
        StudyError: The folder belongs to another study.
        SubmissionError: A copy no longer passes its checks.
    """
    ledger = load_ledger(folder)
    check_study(ledger, study)
    for entry in ledger.current():
        yield accepted_copy(folder, entry, study=study)


def accepted_copy(folder: Path, entry: Entry, *, study: Study) -> Submission:
    """The submission of one received file, verified again.

    Raises:
        StorageError: The copy is missing or changed.
        SubmissionError: It no longer passes its checks.
    """
    copy = folder / ACCEPTED / entry.copy_name
    if not _is_intact(folder, entry):
        found = "a changed file" if copy.exists() else "nothing"
        remedy = "Run `envoi server collect` again: it restores the copy from the inbox."
        raise StorageError(Problem("the copy that was received", found, copy.name, remedy))
    return open_submission(copy, study=study)


def _recovered(folder: Path, study: Study) -> Ledger:
    """The ledger, with the traces of a run that was killed and of lost copies dealt with."""
    if not (folder / LEDGER).exists():
        if (folder / ACCEPTED).is_dir() and any((folder / ACCEPTED).iterdir()):
            remedy = "Restore it from a backup, or collect into a new folder."
            raise StorageError(Problem("the ledger of the accepted copies", "none", LEDGER, remedy))
        save_ledger(folder, Ledger(study.digest))
    ledger = load_ledger(folder)
    check_study(ledger, study)
    _sweep(folder, ledger)
    lost = [entry for entry in ledger.current() if not _is_intact(folder, entry)]
    for entry in lost:
        ledger = ledger.losing(entry)
    if lost:
        save_ledger(folder, ledger)
    return ledger


def _is_intact(folder: Path, entry: Entry) -> bool:
    copy = folder / ACCEPTED / entry.copy_name
    return copy.is_file() and file_digest(copy) == entry.copy_digest


def _sweep(folder: Path, ledger: Ledger) -> None:
    """Delete copies that the ledger does not keep: withdrawn ones, and those of a killed run."""
    kept = ledger.kept()
    unwanted = [
        *(copy for copy in (folder / ACCEPTED).glob("*.safetensors") if copy.name not in kept),
        *(folder / INCOMING).glob("*"),
        *folder.glob(f".{LEDGER}.*"),
    ]
    for copy in unwanted:
        copy.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder; waits for another collector. The lock ends with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as err:
        found = err.strerror or "an error"
        remedy = "Give a folder that can be written."
        raise StorageError(Problem("the server's folder", found, folder.name, remedy)) from err
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


__all__ = [
    "Entry",
    "Ledger",
    "Retry",
    "Revocation",
    "Standing",
    "State",
    "accepted",
    "accepted_copy",
    "collect",
    "load_ledger",
    "restore",
    "revoke",
    "standing",
    "withdraw",
]
