"""Teacher and student side by side, class by class: what the distillation keeps and what it loses.

A result that kept no comparison, as older ones did not, is read by its rows: where the teacher's
own row is there, recalls come from the two confusion matrices, without intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from envoi.report.canvas import Chart
from envoi.report.heat import WORDED_COLUMNS, Tile, heat_map, row_labels
from envoi.report.names import LOCAL, TEACHERS, method_title, percent, points
from envoi.report.pairs import Pair, paired
from envoi.report.rendering import Cell
from envoi.report.table import NOTHING
from envoi.results import Distillation, Interval, Metrics, StudyResult


@dataclass(frozen=True, slots=True)
class Taught:
    """A student that was tested and whose teacher was.

    Attributes:
        method: The student's.
        title: Of the student.
        teacher_title: What its teacher is called.
        student: Its metrics.
        teacher: Its teacher's.
        compared: Class by class with intervals, or None in an older result.
    """

    method: str
    title: str
    teacher_title: str
    student: Metrics
    teacher: Metrics
    compared: Distillation | None


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class: its test images, and the recalls of teacher and student."""

    name: str
    images: int
    teacher: Cell
    student: Cell
    difference: Cell


def taught(result: StudyResult, *, first: str | None) -> tuple[Taught, ...]:
    """Every student with a known teacher, the one called `first` before the others."""
    found = []
    for name, method in result.methods.items():
        row = result.methods.get(TEACHERS.get(name, ""))
        compared = method.distillation
        teacher = compared.teacher if compared else row.metrics if row else None
        if method.metrics and teacher:
            called = method_title(TEACHERS[name]) if name in TEACHERS else "its own"
            title = method_title(name)
            found.append(Taught(name, title, called, method.metrics, teacher, compared))
    return tuple(sorted(found, key=lambda one: one.method != first))


def summary(pair: Taught, class_names: Sequence[str]) -> str:
    """What the distillation costs, in two or three sentences."""
    accuracy = pair.student.accuracy.value - pair.teacher.accuracy.value
    balanced = pair.student.balanced_accuracy.value - pair.teacher.balanced_accuracy.value
    reached = (
        f"The teacher, “{pair.teacher_title}”, reaches {percent(pair.teacher.accuracy.value)} "
        f"accuracy and {percent(pair.teacher.balanced_accuracy.value)} balanced accuracy; the "
        f"{pair.title} differs from it by {points(accuracy)} and {points(balanced)} points."
    )
    said = [reached]
    if pair.compared:
        agreement = percent(pair.compared.agreement.value)
        said.append(f"The two give the same answer to {agreement} of the test images.")
    worst = min(_recalls(pair), key=lambda item: item[2] - item[1], default=None)
    if worst and worst[2] < worst[1]:
        index, theirs, ours = worst
        said.append(
            f"Most is lost on “{class_names[index]}”, of which the teacher recognises "
            f"{percent(theirs)} and the student {percent(ours)}."
        )
    return " ".join(said)


def class_rows(pair: Taught, class_names: Sequence[str]) -> tuple[ClassRow, ...]:
    """A row for each class that has test images."""
    counts = [sum(row) for row in pair.student.confusion]
    return tuple(
        ClassRow(
            class_names[index],
            counts[index],
            *(_plain(theirs, ours) if pair.compared is None else _compared(pair.compared, index)),
        )
        for index, theirs, ours in _recalls(pair)
    )


def class_pairs(pair: Taught, class_names: Sequence[str]) -> Chart:
    """Recalls of teacher and student, one class above the other."""
    rows = [Pair(class_names[index], theirs, ours) for index, theirs, ours in _recalls(pair)]
    reading = (
        "Ring: the share of a class's test images that the teacher recognises; dot: the "
        "student's. The line between them is what distillation lost (dot to the left) or gained."
    )
    return paired(rows, title="Recall of each class", name="chart-teacher", reading=reading)


def recalls_of_all(pair: Taught, result: StudyResult) -> Chart:
    """Recall of each class by teacher, student, every site's own network, and pooled training."""
    known = [("teacher", pair.teacher), ("student", pair.student)]
    last: list[tuple[str, Metrics]] = []
    for name, method in result.methods.items():
        if method.metrics and name.startswith(LOCAL):
            known.append((name.removeprefix(LOCAL), method.metrics))
        elif method.metrics and name == "pooled":
            last.append(("all together", method.metrics))
    known += last
    order = [title for title, _ in known]
    labels = row_labels(result.class_names)
    worded = len(order) <= WORDED_COLUMNS
    rows = [
        (label, [_tile(own.confusion[index], index, worded=worded) for _, own in known])
        for index, label in enumerate(labels)
    ]
    svg = heat_map(
        rows,
        name="chart-recalls",
        description=f"Recall of {len(labels)} classes by {', '.join(order)}",
        row_height=max(min(280 / len(rows), 36), 14),
        columns=order,
    )
    end = ", all images together" if last else ""
    columns = (
        "" if worded else f" Columns: teacher, student, the sites in the order of the tables{end}."
    )
    reading = (
        "A row is a class; the stronger a cell's colour, the more of its test images are "
        "recognised (in percent): by the teacher, by the student, and by the network that each "
        f"site has on its own, which is what the teacher had to work with.{columns}"
    )
    return Chart("Who recognises what", svg, reading)


def _recalls(pair: Taught) -> list[tuple[int, float, float]]:
    """Index, the teacher's recall and the student's, of each class with test images."""
    return [
        (index, theirs[index] / sum(theirs), ours[index] / sum(ours))
        for index, (theirs, ours) in enumerate(
            zip(pair.teacher.confusion, pair.student.confusion, strict=True)
        )
        if sum(theirs) and sum(ours)
    ]


def _plain(theirs: float, ours: float) -> tuple[Cell, Cell, Cell]:
    return Cell(percent(theirs)), Cell(percent(ours)), Cell(points(ours - theirs))


def _compared(compared: Distillation, index: int) -> tuple[Cell, Cell, Cell]:
    recall = compared.recalls[index]
    if recall is None:
        return Cell(NOTHING), Cell(NOTHING), Cell(NOTHING)
    change = recall.difference
    clear = change.high < 0 or change.low > 0
    detail = f"{points(change.low)} to {points(change.high)}"
    return (
        _share(recall.teacher),
        _share(recall.student),
        Cell(points(change.value), detail, clear),
    )


def _share(interval: Interval) -> Cell:
    return Cell(percent(interval.value), f"{100 * interval.low:.1f} to {100 * interval.high:.1f}")


def _tile(counts: Sequence[int], index: int, *, worded: bool) -> Tile:
    if not sum(counts):
        return Tile(0.0)
    recall = counts[index] / sum(counts)
    return Tile(recall, f"{100 * recall:.0f}" if worded else "")
