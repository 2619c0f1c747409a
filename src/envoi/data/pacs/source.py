"""What a PACS is asked, what it answers, and what can go wrong: the seam of both protocols."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from pydicom import FileDataset

from envoi.data.pacs.accessions import WILD
from envoi.data.pacs.people import Person
from envoi.errors import PacsError, Problem, SettingsError

_MODALITY = re.compile(r"[A-Z0-9]{2,16}")
UID = re.compile(r"[0-9.]{1,64}")

Result = TypeVar("Result")


class PacsGoneError(PacsError):
    """The archive went away, or is too busy: the same request may succeed later."""

    after_seconds: float = 0.0


class NotFetchedError(PacsError):
    """One image cannot be had; others may."""


class DamagedObjectError(NotFetchedError):
    """One image came and cannot be read: the archive gives what it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacsQuery:
    """Which studies and series are wanted; days or accession numbers have to be given.

    Attributes:
        modalities: Of the series, such as `MR`; none for all.
        first_day: Earliest day of the study.
        last_day: Latest day of the study.
        description: Part of Study Description, in any case.
        accessions: Accession numbers; none for all.

    Raises:
        SettingsError: A value is wrong, or the query would match the whole archive.
    """

    modalities: tuple[str, ...] = ()
    first_day: date | None = None
    last_day: date | None = None
    description: str = ""
    accessions: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        problems = []
        if not all(_MODALITY.fullmatch(modality) for modality in self.modalities):
            remedy = "Write it as DICOM does, such as MR, CT or DX."
            problems.append(Problem("a modality", "something else", "modality", remedy))
        if (self.first_day is None) is not (self.last_day is None):
            remedy = "Give the first and the last day."
            problems.append(Problem("two days", "one", "dates", remedy))
        elif self.first_day and self.last_day and self.first_day > self.last_day:
            remedy = "Give the earlier day first."
            problems.append(Problem("a first and a last day", "the reverse", "dates", remedy))
        elif self.first_day is None and not self.accessions:
            remedy = "Give days or accession numbers: the whole archive is too much to ask for."
            problems.append(Problem("days or accession numbers", "neither", "query", remedy))
        if WILD.search(self.description):
            remedy = "Give a part of the description; it may stand anywhere in it."
            problems.append(Problem("plain words", "signs", "description", remedy))
        if problems:
            raise SettingsError(*problems)

    @property
    def days(self) -> str:
        """The range as DICOM writes it, or nothing."""
        if self.first_day is None or self.last_day is None:
            return ""
        return f"{self.first_day:%Y%m%d}-{self.last_day:%Y%m%d}"

    def takes(self, study: "StudyRef") -> bool:
        """Whether a study is what was asked for.

        Some archives ignore a part of a query. One that does not tell a number or a description
        that was asked for has not shown that it is the one.
        """
        first, _, last = self.days.partition("-")
        is_in_time = not self.days or not study.day or first <= study.day <= last
        is_numbered = not self.accessions or study.accession in self.accessions
        return is_in_time and is_numbered and _plain(self.description) in _plain(study.description)

    def takes_modality(self, modality: str) -> bool:
        """Whether a series of this modality was asked for; one that is not told is taken."""
        return not self.modalities or not modality or modality in self.modalities


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRef:
    """A study of the archive; a repr shows nothing of it."""

    study: str = field(repr=False)
    person: Person
    accession: str = field(default="", repr=False)
    day: str = field(default="", repr=False)
    description: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRef:
    """One object of the archive; a repr shows nothing of it.

    Attributes:
        study: Study Instance UID.
        series: Series Instance UID.
        instance: SOP Instance UID.
        sop_class: SOP Class UID, where the archive tells it.
        modality: Modality of the series, where the archive tells it.
    """

    study: str = field(repr=False)
    series: str = field(repr=False)
    instance: str = field(repr=False)
    sop_class: str = field(default="", repr=False)
    modality: str = field(default="", repr=False)

    @property
    def is_sound(self) -> bool:
        """Whether the UIDs are digits and points, as they have to be in a request."""
        return all(UID.fullmatch(uid) for uid in (self.study, self.series, self.instance))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How the archive proves who it is, and the site who asks.

    Attributes:
        authorities: A PEM file of certificates that are trusted; None for those of the machine.
        certificate: The site's own certificate, PEM.
        key: Its private key, PEM without a passphrase; None if it is in the same file.
    """

    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


@runtime_checkable
class Turn(Protocol):
    """Makes one request of the wire when its turn has come, and again if the archive went away."""

    def __call__(self, request: Callable[[], Result], /) -> Result:
        """What the request gives."""


def at_once(request: Callable[[], Result], /) -> Result:
    """The turn of one who asks by hand: now, and once."""
    return request()


def unreadable_answer() -> PacsError:
    """The error for an answer without a UID that can be read: a part of the answers is none."""
    remedy = "Check the PACS's own log, or ask for other days or accession numbers."
    expected = "answers with a UID that can be read"
    return PacsError(Problem(expected, "one without", "PACS, query", remedy))


@runtime_checkable
class Source(Protocol):
    """An archive that can be asked. Every method raises `PacsError` or one of its children.

    A question may take many requests: one for each accession number, page or series. `turn` makes
    each of them, so that the rate is that of the wire and an interruption repeats one of them.
    """

    def studies(self, query: PacsQuery, turn: Turn = at_once) -> list[StudyRef]:
        """All studies that match."""

    def instances(
        self, study: StudyRef, query: PacsQuery, turn: Turn = at_once
    ) -> list[InstanceRef]:
        """All objects of a study that match."""

    def fetch(self, instance: InstanceRef) -> FileDataset:
        """One object, as the archive has it, by one request."""

    def close(self) -> None:
        """End the connection; the next request opens another."""


def _plain(text: str) -> str:
    """A description without what archives do not tell apart: case, and two codes of one letter."""
    return unicodedata.normalize("NFC", text).casefold()
