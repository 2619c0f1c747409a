"""Learning curves out of a run's step log: one line a site, one chart a loss term."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from envoi.report.canvas import COLOURS, SERIES, Chart, Key, canvas, series, slug
from envoi.report.findings import Role, role_of
from envoi.report.names import loss_title, method_title
from envoi.results import StepInfo

TRAINING = "/train"
BINS = 120
LOG_RATIO = 50

READING = (
    "Line: the middle value of neighbouring steps; band: from the lowest to the highest of them. "
    "Where images start from noise again in every batch, their curves saw."
)

ROUNDS_READING = (
    "Training loss: of the sites, before each average; validation: of each average, on the "
    "images that only validate at all sites. Line and band: where many rounds share a point, "
    "the middle value and the range."
)

Curve = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Course:
    """How one server job, or learning in rounds, went: a chart for each loss term."""

    title: str
    charts: tuple[Chart, ...]
    reading: str = READING
    place: str = "At the server"


def site_curves(steps: Sequence[StepInfo]) -> tuple[Chart, ...]:
    """Training loss and validation accuracy of every network that was trained on images.

    Reads what a training tells at the end of each epoch; where it tells no such thing, the
    mean of its steps' losses.
    """
    trained: dict[str, list[StepInfo]] = defaultdict(list)
    for step in steps:
        if step.phase.endswith(TRAINING):
            trained[step.phase.removesuffix(TRAINING)].append(step)
    losses = {name: _by_epoch(taken, "train_loss", "loss") for name, taken in trained.items()}
    right = {name: _by_epoch(taken, "validation_accuracy") for name, taken in trained.items()}
    charts = [
        _lines(losses, "train_loss", better="lower"),
        _lines(right, "validation_accuracy", better="higher"),
    ]
    return tuple(chart for chart in charts if chart)


def distillation_courses(steps: Sequence[StepInfo]) -> tuple[Course, ...]:
    """Every server job, and learning in rounds, with a chart for each of its loss terms."""
    jobs: dict[str, list[StepInfo]] = defaultdict(list)
    for step in steps:
        if not step.phase.endswith(TRAINING):
            jobs[step.phase].append(step)
    courses = [_course(job, taken) for job, taken in jobs.items()]
    return tuple(course for course in courses if course.charts)


def _course(job: str, steps: Sequence[StepInfo]) -> Course:
    if role_of(job) is Role.ROUNDS:
        charts = _terms(job, steps, unit="round")
        return Course(method_title(job), charts, ROUNDS_READING, "In rounds")
    return Course(method_title(job), _terms(job, steps, unit="step"))


def _by_epoch(steps: Iterable[StepInfo], *names: str) -> Curve:
    """The first of `names` that is there, its mean in each epoch."""
    kept = list(steps)
    for name in names:
        epochs: dict[int, list[float]] = defaultdict(list)
        for step in kept:
            if math.isfinite(value := step.losses.get(name, math.nan)):
                epochs[step.epoch].append(value)
        if epochs:
            return [(epoch, sum(held) / len(held)) for epoch, held in sorted(epochs.items())]
    return []


def _lines(curves: dict[str, Curve], loss: str, *, better: str) -> Chart | None:
    drawn = {name: curve for name, curve in curves.items() if curve}
    if not drawn:
        return None
    sites = [name for name in drawn if name != "pooled"]
    crowded = len(sites) > SERIES
    title = loss_title(loss)
    with canvas(240) as drawing:
        axes = drawing.axes()
        for index, name in enumerate(sites):
            colour = "muted" if crowded else series(index)
            _line(
                axes,
                drawn[name],
                colour,
                width=0.9 if crowded else 1.6,
                alpha=0.6 if crowded else 1,
            )
        if "pooled" in drawn:
            _line(axes, drawn["pooled"], "ink", width=1.8, dashes=(0, (4, 2)))
        axes.set_xlabel("epoch")
        _frame(axes)
        svg = drawing.svg(f"curve-{slug(loss)}", f"{title} of {len(drawn)} networks, by epoch")
    keys = [] if crowded else [Key(series(index), name) for index, name in enumerate(sites)]
    keys += [Key("ink", "all images together (dashed)")] if "pooled" in drawn else []
    keys += [Key("muted", f"each of {len(sites)} sites")] if crowded else []
    reading = f"Each line is one network as it learns; {better} is better, flat means it is done."
    return Chart(title, svg, reading, tuple(keys))


def _line(
    axes: Axes,
    curve: Curve,
    colour: str,
    *,
    width: float,
    alpha: float = 1,
    dashes: tuple[int, tuple[int, ...]] | str = "-",
) -> None:
    x, y = zip(*curve, strict=True)
    marker = "o" if len(curve) == 1 else None
    axes.plot(
        x,
        y,
        color=COLOURS[colour],
        linewidth=width,
        alpha=alpha,
        linestyle=dashes,
        marker=marker,
        markersize=5,
    )


def _terms(job: str, steps: Sequence[StepInfo], *, unit: str) -> tuple[Chart, ...]:
    names = dict.fromkeys(name for step in steps for name in step.losses)
    curves = {name: curve for name in names if len(curve := _term(steps, name))}
    return tuple(_panel(job, name, curve, unit) for name, curve in curves.items())


def _term(steps: Sequence[StepInfo], name: str) -> NDArray[np.float64]:
    """Rows of step and value, finite ones only."""
    rows = [(step.step, step.losses[name]) for step in steps if name in step.losses]
    points = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return points[np.isfinite(points).all(axis=1)]


def _panel(job: str, name: str, points: NDArray[np.float64], unit: str) -> Chart:
    edges = np.linspace(0, len(points), min(BINS, len(points)) + 1).astype(int)
    held = [points[start:end] for start, end in pairwise(edges)]
    x = [part[:, 0].mean() for part in held]
    middle = [np.median(part[:, 1]) for part in held]
    low, high = ([side(part[:, 1]) for part in held] for side in (np.min, np.max))
    with canvas(170) as drawing:
        axes = drawing.axes()
        axes.fill_between(x, low, high, color=COLOURS["accent"], alpha=0.22, linewidth=0)
        axes.plot(x, middle, color=COLOURS["accent"], linewidth=1.5)
        if min(low) > 0 and max(high) > LOG_RATIO * min(low):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
            # The default labels are mathematical markup, which text in an SVG would show raw.
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(unit)
        _frame(axes)
        title = loss_title(name)
        svg = drawing.svg(f"course-{slug(job + name)}", f"{title} of {job}, by {unit}")
    return Chart(title, svg, "")


def _frame(axes: Axes) -> None:
    axes.grid(axis="y", linewidth=0.6)
    axes.tick_params(length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if axes.get_yscale() == "linear":
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.margins(x=0.02)
