"""What hospitals said of the student: evaluations.json of the run, if it is there.

`envoi server evaluations --out RUN/evaluations.json` writes it. Only what the page shows is read.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from envoi.errors import Problem, StorageError
from envoi.files import read_text
from envoi.report.names import percent
from envoi.report.rendering import Cell
from envoi.report.table import NOTHING
from envoi.results import Interval

FILE = "evaluations.json"
_REMEDY = "Write it again by `envoi server evaluations`, or remove it."


@dataclass(frozen=True, slots=True)
class _Class:
    images: int
    recall: Interval | None
    sites: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    accuracy: Interval
    balanced_accuracy: Interval
    auroc: Interval | None
    ece: Interval
    classes: tuple[_Class, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site(_Measured):
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluations(_Measured):
    sites: tuple[_Site, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: a site, or all; or a class."""

    name: str
    images: int
    cells: tuple[Cell, ...]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class AtSites:
    """Both tables of the section."""

    sites: tuple[Line, ...]
    classes: tuple[Line, ...]


def at_sites(folder: Path, class_names: tuple[str, ...]) -> AtSites | None:
    """The section's tables; None if nobody has evaluated.

    Raises:
        StorageError: The file is there and cannot be read, or is of other classes.
    """
    if not (folder / FILE).exists():
        return None
    text = read_text(folder / FILE, what="the sites' evaluations", remedy=_REMEDY)
    try:
        found = TypeAdapter(_Evaluations).validate_json(text)
    except ValidationError as err:
        problem = Problem("the sites' evaluations", "something else", FILE, _REMEDY)
        raise StorageError(problem) from err
    for one in (found, *found.sites):
        if len(one.classes) != len(class_names):
            expected, known = f"{len(class_names)} classes", f"{len(one.classes)}"
            raise StorageError(Problem(expected, known, FILE, _REMEDY))
    rows = [_line(one.site, one) for one in found.sites]
    return AtSites(
        (*rows, _line("All sites", found, whole=True)),
        tuple(
            Line(name, one.images, (Cell(f"{one.sites}"), _shown(one.recall)))
            for name, one in zip(class_names, found.classes, strict=True)
        ),
    )


def _line(name: str, one: _Measured, *, whole: bool = False) -> Line:
    measured = (one.accuracy, one.balanced_accuracy, one.auroc, one.ece)
    images = sum(each.images for each in one.classes)
    return Line(name, images, tuple(_shown(metric) for metric in measured), whole)


def _shown(metric: Interval | None) -> Cell:
    if metric is None:
        return Cell(NOTHING)
    return Cell(percent(metric.value), f"{percent(metric.low)} to {percent(metric.high)}")
