"""Two values in each row, a ring and a dot on one line: a teacher's and its student's."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import PercentFormatter

from envoi.report.canvas import COLOURS, Chart, Key, bare, canvas, row_words
from envoi.report.names import percent

_ARROW = "\N{RIGHTWARDS ARROW}"


@dataclass(frozen=True, slots=True)
class Pair:
    """One row: its label, and the shares that teacher and student reach."""

    label: str
    teacher: float
    student: float


def paired(rows: Sequence[Pair], *, title: str, name: str, reading: str) -> Chart:
    """Teacher and student, one row above the other.

    Args:
        rows: At least one.
        title: What is shown.
        name: Unique on the page.
        reading: How to read it.
    """
    with canvas(35 * len(rows) + 26) as drawing:
        axes = drawing.axes()
        for index, row in enumerate(rows):
            y, ours, theirs = -index, row.student, row.teacher
            axes.axhline(y, color=COLOURS["rule"], linewidth=1, zorder=1)
            axes.plot([theirs, ours], [y, y], color=COLOURS["accent"], linewidth=3.5, alpha=0.45)
            axes.plot(
                [theirs],
                [y],
                marker="o",
                markersize=9,
                markerfacecolor=COLOURS["page"],
                markeredgecolor=COLOURS["ink"],
                markeredgewidth=1.6,
            )
            axes.plot([ours], [y], marker="o", markersize=7, color=COLOURS["accent"])
            row_words(axes, y, row.label, f"{percent(theirs)} {_ARROW} {percent(ours)}")
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(0.55 - len(rows), 0.85)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_yticks([])
        bare(axes)
        words = "; ".join(
            f"{row.label}: teacher {percent(row.teacher)}, student {percent(row.student)}"
            for row in rows
        )
        svg = drawing.svg(name, f"{title}: {words}")
    keys = (Key("ink", "teacher (ring)"), Key("accent", "student (dot)"))
    return Chart(title, svg, reading, keys)
