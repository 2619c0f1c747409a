"""Collecting: from files that appear in an inbox to verified copies and a ledger.

    folder/ledger.json                          what became of every file
    folder/accepted/<site>-<number>.safetensors verified copies of what was received
    folder/.incoming/                           a copy that is being verified

Idempotent and durable: a file is received when the ledger says so, and not before. It is copied,
verified from the copy, renamed into `accepted`, and then noted; a kill in between leaves a copy
without a note, which the next run removes before it takes the same file again. Nothing in the
inbox is changed. Memory is that of one submission, whatever lies in the inbox.

Not known here: whether a site told the truth about its images.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from envoi.errors import Problem, StorageError, StudyError
from envoi.files import file_digest
from envoi.server.arrival import Arrival
from envoi.server.inbox import listed
from envoi.server.ledger import (
    ACCEPTED,
    INCOMING,
    LEDGER,
    NAME_LIMIT,
    Entry,
    Ledger,
    Retry,
    Standing,
    State,
    check_study,
    load_ledger,
    printable,
    save_ledger,
    standing,
)
from envoi.study import Study
from envoi.submission import Submission, open_submission

LOCK = ".lock"


def collect(inbox: Path, folder: Path, *, study: Study, late: bool = False) -> Ledger:
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
            changed its inode, a time that its sender cannot set.

    Raises:
        StorageError: The inbox cannot be read, the folder cannot be written, or its ledger is
            lost.
        StudyError: The folder belongs to another study.
    """
    files, ignored = listed(inbox, folder)
    with _locked(folder):
        ledger = replace(_recovered(folder, study), ignored=tuple(ignored))
        for path in files:
            try:
                ledger = Arrival(path, folder, study, late).noted_in(ledger)
            except StorageError:
                raise
            except OSError as err:
                ledger = ledger.ignoring(path.name, err.strerror or "an error of the disk")
        _sweep(folder, ledger)
    return ledger


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
        after = before.withdrawing(site, up_to=None, reason="withdrawn by the coordinator")
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
    return copy.is_file() and file_digest(copy) == entry.digest


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
    "Standing",
    "State",
    "accepted",
    "accepted_copy",
    "collect",
    "load_ledger",
    "standing",
    "withdraw",
]
