"""Charts of what methods reach and cost, each a pure function from results to a `Chart`."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from envoi.report.canvas import COLOURS, Chart, bare, canvas, row_words, slug
from envoi.report.names import TIMES, method_title, percent, size
from envoi.results import Interval, Metrics

ROUNDS = (1, 5, 20, 100)

MUTED, ACCENT = COLOURS["muted"], COLOURS["accent"]


@dataclass(frozen=True, slots=True)
class Compared:
    """One row of the comparison: a method's name, its value, and its colour role."""

    label: str
    interval: Interval
    colour: str = "ink"


def comparison(rows: Sequence[Compared], *, metric: str, chance: float) -> Chart:
    """Methods with their intervals, one above the other.

    Args:
        rows: In the table's order.
        metric: Its name in words, which also names the drawing.
        chance: What an answer without looking at the image gets.
    """
    low = min(chance, *(row.interval.low for row in rows))
    high = max(row.interval.high for row in rows)
    margin = 0.03 * (high - low or 1)
    with canvas(35 * len(rows) + 26) as drawing:
        axes = drawing.axes()
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylim(0.55 - len(rows), 0.85)
        for index, row in enumerate(rows):
            _interval_row(axes, -index, row, chance)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_yticks([])
        bare(axes)
        words = "; ".join(f"{row.label} {percent(row.interval.value)}" for row in rows)
        svg = drawing.svg(f"chart-{metric.replace(' ', '-')}", f"{metric}: {words}")
    reading = (
        "Dot: the value on the test images; bar: where it would fall in 95 of 100 test sets "
        "drawn anew; tick: answering without looking at the image. Further right is better."
    )
    return Chart(metric.capitalize(), svg, reading)


def reliability(metrics: Metrics, *, method: str) -> Chart:
    """Accuracy against confidence, bin by bin."""
    bins = metrics.calibration
    total = sum(item.count for item in bins)
    title = f"{method_title(method)}: confidence"
    with canvas(300) as drawing:
        axes = drawing.axes()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        confidence = [item.confidence for item in bins]
        right = [item.accuracy for item in bins]
        axes.vlines(confidence, confidence, right, color=ACCENT, linewidth=3, alpha=0.35)
        areas = [16 + 420 * item.count / total for item in bins]
        axes.scatter(confidence, right, s=areas, color=ACCENT, zorder=3, linewidth=0)
        axes.set(
            xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="confidence", ylabel="answered correctly"
        )
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(linewidth=0.6)
        axes.tick_params(length=0)
        words = f"{title}; expected calibration error {metrics.ece.value:.3f}"
        svg = drawing.svg(f"reliability-{slug(method)}", words)
    reading = (
        "On the dotted line confidence is deserved, below it the classifier is too sure, above "
        "it not sure enough; the larger the dot, the more images."
    )
    return Chart(title, svg, reading)


def bytes_moved(one_file: int, network: int) -> Chart:
    """Bytes that each site moves: one file, against computed rounds of federated averaging.

    Args:
        one_file: Size of the largest submission, in bytes.
        network: Bytes of its network alone, which is all that a round moves; 0 where they are
            not known, and the file's size stands in for them.
    """
    moved = network or one_file
    rows = [("One file, once (this study)", one_file)]
    for count in ROUNDS:
        words = f"{count} round{'s' if count > 1 else ''} of averaging (computed)"
        rows.append((words, 2 * count * moved))
    with canvas(36 * len(rows) + 4) as drawing:
        axes = drawing.axes()
        for index, (label, amount) in enumerate(rows):
            colour, computed = (MUTED, True) if index else (ACCENT, False)
            axes.barh(
                -index,
                amount,
                height=0.36,
                color=colour,
                edgecolor=colour,
                fill=not computed,
                hatch="////" if computed else None,
            )
            row_words(axes, -index, label, size(amount))
        axes.set_xlim(0, max(amount for _, amount in rows) * 1.005)
        axes.set_ylim(-len(rows) + 0.65, 0.8)
        axes.set(xticks=[], yticks=[])
        bare(axes)
        described = "; ".join(f"{label} {size(amount)}" for label, amount in rows)
        svg = drawing.svg("chart-bytes", f"Bytes moved by each site: {described}")
    return Chart("Bytes moved by each site", svg, _reading_of_bytes(moved, exact=bool(network)))


def _reading_of_bytes(moved: int, *, exact: bool) -> str:
    rounds = ROUNDS[-1]
    product = f"2 {TIMES} {rounds} {TIMES} {size(moved)} = {size(2 * rounds * moved)}"
    what = (
        "Only the network's numbers are counted, in the file's own format: the file also has "
        "its manifest and, where the study asks for them, moments."
        if exact
        else "The file's size is taken for the network's."
    )
    return (
        "The length of a bar is what one site sends and receives in all. Hatched bars are a "
        "computation, not a measurement: a round carries the network there and back, so "
        f"{rounds} rounds move {product}. {what}"
    )


def _interval_row(axes: Axes, y: int, row: Compared, chance: float) -> None:
    colour, interval = COLOURS[row.colour], row.interval
    axes.axhline(y, color=COLOURS["rule"], linewidth=1, zorder=1)
    axes.vlines(chance, y - 0.12, y + 0.12, color=MUTED, linewidth=1)
    axes.plot([interval.low, interval.high], [y, y], color=colour, linewidth=4, alpha=0.45)
    axes.plot([interval.value], [y], color=colour, marker="o", markersize=8, markeredgewidth=0)
    row_words(axes, y, row.label, percent(interval.value), bold=row.colour == "accent")
