"""How well each site's own test images are answered, where the test set names sites."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from envoi.report.canvas import Chart
from envoi.report.distillation import Taught
from envoi.report.findings import Findings
from envoi.report.names import LOCAL, percent
from envoi.report.pairs import Pair, paired
from envoi.report.rendering import Cell
from envoi.report.table import NOTHING
from envoi.results import Interval, Metrics, SiteMetrics, StudyResult

SHOWN_COLUMNS = 8

_ARROW = "\N{RIGHTWARDS ARROW}"


@dataclass(frozen=True, slots=True)
class HospitalRow:
    """The test images of one site: who answers how many of them.

    Attributes:
        name: Of the site in the test set.
        alias: What the run calls it, if otherwise.
        images: So many.
        cells: One for each of `HospitalTable.columns`.
    """

    name: str
    alias: str
    images: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class HospitalTable:
    """Accuracy on each site's test images.

    Attributes:
        columns: Whose: teacher, student, the site's own network, all images together.
        rows: A site each.
        charts: Teacher and student by accuracy and by balanced accuracy; empty without teacher.
        classes: For each class its name and, site by site, the recalls; empty for many sites.
    """

    columns: tuple[str, ...]
    rows: tuple[HospitalRow, ...]
    charts: tuple[Chart, ...]
    classes: tuple[tuple[str, tuple[str, ...]], ...]


def hospitals(
    result: StudyResult, findings: Findings, pairs: Sequence[Taught]
) -> HospitalTable | None:
    """The test set's sites apart; None where it names none, or no student was tested."""
    student = findings.student.metrics if findings.student else None
    if student is None or not student.by_site:
        return None
    ours = findings.student.name if findings.student else ""
    teacher = next((pair.teacher for pair in pairs if pair.method == ours), None)
    pooled = findings.pooled.metrics if findings.pooled else None
    aliases = {name: _alias(result, name) for name in student.by_site}
    own = {name: _own(result, alias, name) for name, alias in aliases.items()}
    known: dict[str, Mapping[str, SiteMetrics | None]] = {
        "Teacher": teacher.by_site if teacher else {},
        "Student": student.by_site,
        "Own network": own,
        "All together": pooled.by_site if pooled else {},
    }
    columns = tuple(title for title, parts in known.items() if any(parts.values()))
    rows = tuple(
        HospitalRow(
            name,
            "" if aliases[name] == name else aliases[name],
            sum(map(sum, part.confusion)),
            tuple(_cell(known[column].get(name)) for column in columns),
        )
        for name, part in student.by_site.items()
    )
    charts = _charts(teacher, student) if teacher else ()
    classes = _classes(teacher, student, result.class_names) if teacher else ()
    return HospitalTable(columns, rows, charts, classes)


def _alias(result: StudyResult, name: str) -> str:
    """The run's name for the site that the test set calls `name`; empty if it is none of them."""
    if result.partition != "natural":  # then the run's sites are no hospitals of the data set
        return ""
    return next((site.site for site in result.sites if (site.origin or site.site) == name), "")


def _own(result: StudyResult, alias: str, name: str) -> SiteMetrics | None:
    """What the site's own network does on the site's own test images."""
    row = result.methods.get(f"{LOCAL}{alias}") if alias else None
    return row.metrics.by_site.get(name) if row and row.metrics else None


def _cell(part: SiteMetrics | None) -> Cell:
    if part is None:
        return Cell(NOTHING)
    span = f"{100 * part.accuracy.low:.1f} to {100 * part.accuracy.high:.1f}"
    balanced = percent(part.balanced_accuracy.value)
    return Cell(percent(part.accuracy.value), f"{span}; balanced {balanced}")


def _charts(teacher: Metrics, student: Metrics) -> tuple[Chart, ...]:
    measures: dict[str, Callable[[SiteMetrics], Interval]] = {
        "Accuracy": lambda part: part.accuracy,
        "Balanced accuracy": lambda part: part.balanced_accuracy,
    }
    reading = "Ring: the teacher on that site's test images; dot: the student."
    found = []
    for title, by in measures.items():
        rows = [
            Pair(name, by(teacher.by_site[name]).value, by(part).value)
            for name, part in student.by_site.items()
            if name in teacher.by_site
        ]
        name = f"chart-hospitals-{title.lower().replace(' ', '-')}"
        if rows:
            titled = f"{title} on each site's test images"
            found.append(paired(rows, title=titled, name=name, reading=reading))
    return tuple(found)


def _classes(
    teacher: Metrics, student: Metrics, class_names: Sequence[str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """`91.0% → 88.0%` for each class and site, from teacher to student."""
    names = list(student.by_site)
    if len(names) > SHOWN_COLUMNS:
        return ()
    return tuple(
        (
            label,
            tuple(
                f"{_recall(teacher.by_site.get(name), index)} {_ARROW} "
                f"{_recall(student.by_site[name], index)}"
                for name in names
            ),
        )
        for index, label in enumerate(class_names)
    )


def _recall(part: SiteMetrics | None, index: int) -> str:
    total = sum(part.confusion[index]) if part else 0
    return percent(part.confusion[index][index] / total) if part and total else NOTHING
