"""The pull: find, fetch, de-identify, write; one object after another.

An object is fetched only if its pseudonym is not in the folder yet, and was not noted there as one
that is no image. So a second pull fetches what is new, and one that was stopped, by whatever, goes
on where it was.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import FileDataset

from envoi.data.dicom.pseudonyms import Pseudonyms
from envoi.data.pacs.deidentify import Deidentified, Profile, Reason, deidentify
from envoi.data.pacs.extra import UNREADABLE, extra, silence
from envoi.data.pacs.kinds import IMAGES
from envoi.data.pacs.pace import Pace, Patience
from envoi.data.pacs.people import People, Person, person_of
from envoi.data.pacs.shelf import Shelf, Terms, locked
from envoi.data.pacs.source import (
    DamagedObjectError,
    InstanceRef,
    NotFetchedError,
    PacsGoneError,
    PacsQuery,
    Result,
    Source,
    StudyRef,
)
from envoi.errors import PacsError, Problem, StorageError

_NOTES_SECONDS = 30.0
_MOST_MISSED = 20
# What lies in the object itself. Its attributes are corrected in archives under the same UID, so
# who was left out for one of them is looked at again.
_LASTING = {Reason.NO_PIXELS, Reason.OTHER_KIND, Reason.DOUBTFUL_PIXELS}


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSettings:
    """How to pull.

    Attributes:
        patience: Rate, and waits for an archive that goes away.
        profile: What may stay in the files.
        allow_shared_ids: Take all that bear one patient id as one patient.
        limit: Stop after so many new images; None for all.
        dry_run: Only count; fetch nothing and write nothing.
    """

    patience: Patience = field(default_factory=Patience)
    profile: Profile = field(default_factory=Profile)
    allow_shared_ids: bool = False
    limit: int | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class PullCounts:
    """What became of all that was found.

    Attributes:
        queries: Queries that were answered; each page and series is one.
        studies: Studies that match.
        studies_done: Those that were gone through.
        pulled: Images that were fetched and written; in a dry run, those that would be fetched.
        present: Images that were there.
        failed: Objects that could not be fetched or were damaged; the next pull tries them again.
        left_out: Objects that are not taken, by reason, those that an earlier pull has noted too.
        shared_ids: Patient ids that stand for more than one person.
        waits: Waits for an archive that went away.
        not_found: Places in the query's accession numbers, from 0, of those that no study has.
    """

    queries: int = 0
    studies: int = 0
    studies_done: int = 0
    pulled: int = 0
    present: int = 0
    failed: int = 0
    left_out: Counter[Reason] = field(default_factory=Counter)
    shared_ids: int = 0
    waits: int = 0
    not_found: tuple[int, ...] = ()


OnPull = Callable[[PullCounts], None]


def _ignore(_: PullCounts) -> None:
    """Nobody listens."""


def pull(
    source: Source,
    query: PacsQuery,
    folder: Path,
    pseudonyms: Pseudonyms,
    settings: PullSettings | None = None,
    *,
    on_pull: OnPull = _ignore,
) -> PullCounts:
    """Bring all images that match into a folder, without who they are of.

    Memory: four times the largest object, and 100 bytes for each object of the folder.

    Args:
        source: The archive.
        query: What is wanted.
        folder: `PATIENT/INSTANCE.dcm` and `pull.json`, all pseudonyms.
        pseudonyms: Of the site.
        settings: How.
        on_pull: Told after each query and each object, and before each wait.

    Raises:
        PacsError: The archive refuses, or did not come back. What was pulled is kept.
        StorageError: The disk is full, or the folder is another's. What was pulled is kept.
        SettingsError: The folder was filled under another key or other options.
        CheckError: De-identification has a fault; the image was not written.
    """
    settings = settings or PullSettings()
    extra("dicomanonymizer")  # before anything is asked of the archive
    with silence():
        if settings.dry_run:
            return _Pull(source, query, folder, pseudonyms, settings, on_pull).run()
        with locked(folder):
            return _Pull(source, query, folder, pseudonyms, settings, on_pull).run()


class _Pull:
    """One pull: the state of its loop."""

    def __init__(
        self,
        source: Source,
        query: PacsQuery,
        folder: Path,
        pseudonyms: Pseudonyms,
        settings: PullSettings,
        on_pull: OnPull,
    ) -> None:
        terms = Terms(
            pseudonyms.fingerprint,
            settings.allow_shared_ids,
            settings.profile.keep_characteristics,
        )
        self._source, self._query, self._settings = source, query, settings
        self._pseudonyms, self._on_pull = pseudonyms, on_pull
        self._shelf = Shelf(folder, terms)
        notes = self._shelf.notes
        self._people = People(
            pseudonyms,
            notes.people,
            notes.shared,
            allow_shared_ids=settings.allow_shared_ids,
        )
        self._pace = Pace(settings.patience, self._waits)
        self._counts = PullCounts()
        self._missed_in_a_row = 0
        self._written = time.monotonic()

    def run(self) -> PullCounts:
        studies = self._source.studies(self._query, self._ask)
        numbers = {study.accession for study in studies}
        not_found = tuple(
            place for place, number in enumerate(self._query.accessions) if number not in numbers
        )
        self._tell(replace(self._counts, studies=len(studies), not_found=not_found))
        for study in studies:
            self._people.meet_answer(study.person)
        with self._noting():
            for study in studies:
                if self._is_done():
                    break
                self._pull_study(study)
                done = self._counts.studies_done + 1
                self._tell(replace(self._counts, studies_done=done))
        return self._counts

    def _ask(self, request: Callable[[], Result]) -> Result:
        """What one request of a query gives, in its turn."""
        answer = self._pace.make(request)
        self._tell(replace(self._counts, queries=self._counts.queries + 1))
        return answer

    def _pull_study(self, study: StudyRef) -> None:
        instances = self._source.instances(study, self._query, self._ask)
        is_refused = self._is_refused(study)
        for instance in dict.fromkeys(instances):
            if self._is_done():
                return
            pseudonym = self._pseudonyms.uid(instance.instance)
            noted = self._noted_reason(pseudonym)
            if pseudonym in self._shelf:
                self._tell(replace(self._counts, present=self._counts.present + 1))
            elif noted is not None:
                self._leave_out(noted)
            elif is_refused:
                self._leave_out(Reason.SHARED_ID)
            elif instance.sop_class and instance.sop_class not in IMAGES:
                self._leave_out(Reason.OTHER_KIND)
            elif self._settings.dry_run:
                self._tell(replace(self._counts, pulled=self._counts.pulled + 1))
            else:
                # One file of a study shows whose id it bears; the others are spared.
                is_refused = self._pull_instance(study, instance, pseudonym) is Reason.SHARED_ID

    def _is_refused(self, study: StudyRef) -> bool:
        """Whether the archive's own answers show that the study's id is of two people."""
        is_certain = bool(study.person.issuer) or self._settings.dry_run
        return is_certain and self._people.is_shared(study.person)

    def _noted_reason(self, pseudonym: str) -> Reason | None:
        """Why an earlier pull left an object out, if that still holds."""
        reason = self._shelf.notes.left_out.get(pseudonym)
        if reason is Reason.DOUBTFUL_PIXELS and self._settings.profile.allow_doubtful_pixels:
            return None
        return reason if reason in _LASTING else None

    def _pull_instance(
        self, study: StudyRef, instance: InstanceRef, pseudonym: str
    ) -> Reason | None:
        """Fetch and write one object; the reason if it is not taken."""
        dataset = self._fetched(study, instance)
        person = None if dataset is None else _person_in(dataset, instance)
        if dataset is None or person is None:
            return self._fail()
        if not person.number:
            return self._leave_out(Reason.NO_PATIENT)
        self._people.meet_file(person)
        if self._people.is_shared(person):
            return self._leave_out(Reason.SHARED_ID)
        patient = self._people.patient(person)
        made = deidentify(dataset, patient, self._pseudonyms, self._settings.profile)
        if isinstance(made, Reason):
            return self._fail() if made is Reason.DAMAGED else self._leave_out(made, pseudonym)
        self._put(made, patient, person)
        return None

    def _fetched(self, study: StudyRef, instance: InstanceRef) -> FileDataset | None:
        """One object, or None if it is damaged or not to be had.

        Raises:
            PacsGoneError: The archive is away. If it answers, it was this object that made it go.
            PacsError: The archive gives none of many in a row. Damaged ones are no sign of that.
        """
        if not instance.is_sound:
            return None
        try:
            dataset = self._pace.make(lambda: self._source.fetch(instance))
        except DamagedObjectError:
            dataset = None
        except NotFetchedError:
            self._miss()
            return None
        except PacsGoneError as err:
            try:
                self._source.instances(study, self._query, self._pace.make_once)
            except PacsError:
                raise err from None
            self._miss()
            return None
        self._missed_in_a_row = 0
        return dataset

    def _put(self, made: Deidentified, patient: str, person: Person) -> None:
        self._shelf.put(patient, made.instance, made.content)
        self._people.keep(person)
        self._shelf.notes.left_out.pop(made.instance, None)
        self._tell(replace(self._counts, pulled=self._counts.pulled + 1))

    def _leave_out(self, reason: Reason, pseudonym: str = "") -> Reason:
        """Count an object that is not taken; with its pseudonym, it may be noted."""
        if pseudonym and reason in _LASTING:
            self._shelf.notes.left_out[pseudonym] = reason
        left_out = self._counts.left_out + Counter([reason])
        self._tell(replace(self._counts, left_out=left_out))
        return reason

    def _fail(self) -> Reason:
        """Count an object that is damaged; the next pull tries it again."""
        self._tell(replace(self._counts, failed=self._counts.failed + 1))
        return Reason.DAMAGED

    def _miss(self) -> None:
        """Note an object that the archive does not give; an error if there are many in a row."""
        self._missed_in_a_row += 1
        if self._missed_in_a_row >= _MOST_MISSED:
            self._fail()
            found = f"{_MOST_MISSED} one after another that cannot be had"
            remedy = "Check the PACS's own log, and run the same command again."
            raise PacsError(Problem("images", found, "PACS", remedy))

    def _is_done(self) -> bool:
        limit = self._settings.limit
        return limit is not None and self._counts.pulled >= limit

    def _waits(self, seconds: float) -> None:  # noqa: ARG002  (the wait itself tells how long)
        self._tell(replace(self._counts, waits=self._counts.waits + 1))

    def _tell(self, counts: PullCounts) -> None:
        self._counts = replace(counts, shared_ids=len(self._people.shared))
        self._on_pull(self._counts)
        if time.monotonic() > self._written + _NOTES_SECONDS:
            self._write_notes()

    def _write_notes(self) -> None:
        if self._settings.dry_run:
            return
        notes = self._shelf.notes
        notes.people, notes.shared = self._people.known, frozenset(self._people.shared)
        self._shelf.write_notes()
        self._written = time.monotonic()

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Whatever ends the block, the notes are written; what ended it is what is told."""
        try:
            yield
        except BaseException:
            # A full disk was told already, and the files are the truth.
            with suppress(StorageError):
                self._write_notes()
            raise
        self._write_notes()


def _person_in(dataset: FileDataset, instance: InstanceRef) -> Person | None:
    """Who a file is of; None if it is damaged, or another than was asked for."""
    try:
        is_asked_for = dataset.get("SOPInstanceUID") == instance.instance
        return person_of(dataset) if is_asked_for else None
    except UNREADABLE:
        return None
