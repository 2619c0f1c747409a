"""Accuracy against the bytes that each site moves: one file once, or the network every round."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, PercentFormatter

from envoi.report.canvas import COLOURS, Chart, Key, canvas, series, slug
from envoi.report.findings import Findings, Role, role_of
from envoi.report.names import TIMES, method_title, percent, rounds_of, size
from envoi.results import Interval, MethodResult, Metrics, StudyResult

TICKS = 6
ROUND_COLOURS = (series(1), series(3), series(6), series(2))

READINGS = (
    (
        "Further left is cheaper (a step of equal length is an equal factor), higher is better. In "
        "each round a site sends its network in fp32 and receives the average, so R rounds move "
        f"2 {TIMES} R networks. A one-shot method moves the one file; the delivery of its student "
        "is not counted. Bar: where the value would fall in 95 of 100 test sets drawn anew."
    ),
    "The same by balanced accuracy, where every class counts alike.",
)

Measure = Callable[[Metrics], Interval]


def transfers(result: StudyResult, findings: Findings) -> tuple[Chart, ...]:
    """Accuracy and balanced accuracy by bytes; empty unless rounds were run and measured."""
    moving = [
        m
        for m in result.methods.values()
        if m.metrics and m.bytes_per_site and role_of(m.method) is not Role.POOLED
    ]
    if not any(role_of(m.method) is Role.ROUNDS for m in moving):
        return ()
    measures: dict[str, Measure] = {
        "accuracy": lambda metrics: metrics.accuracy,
        "balanced accuracy": lambda metrics: metrics.balanced_accuracy,
    }
    charts = [_chart(name, by, moving, findings) for name, by in measures.items()]
    return tuple(replace(c, reading=text) for c, text in zip(charts, READINGS, strict=True))


def _chart(measure: str, by: Measure, moving: Sequence[MethodResult], findings: Findings) -> Chart:
    once = [m for m in moving if role_of(m.method) is not Role.ROUNDS]
    rounds = _by_algorithm(moving)
    keys = []
    with canvas(290) as drawing:
        axes = drawing.axes()
        axes.set_xscale("log")
        student = [m for m in once if findings.is_student(m.method)]
        others = [m for m in once if m not in student]
        if others:
            _points(axes, others, by, "ink")
            keys.append(Key("ink", "other one-shot methods"))
        for index, (algorithm, rows) in enumerate(rounds.items()):
            colour = ROUND_COLOURS[index % len(ROUND_COLOURS)]
            _points(axes, rows, by, colour, joined=True)
            keys.append(Key(colour, f"{method_title(algorithm)}, by rounds"))
        if student:
            _points(axes, student, by, "accent")
            keys.insert(0, Key("accent", method_title(student[0].method)))
        if findings.pooled:
            level = by(findings.pooled.metrics).value
            axes.axhline(level, color=COLOURS["muted"], linewidth=1.4, linestyle=(0, (4, 2)))
            keys.append(Key("muted", f"all images together, {percent(level)} (dashed)"))
        _frame(axes, once, [row for rows in rounds.values() for row in rows])
        words = "; ".join(f"{method_title(m.method)} {_moved(m, by)}" for m in moving)
        svg = drawing.svg(f"transfers-{slug(measure)}", f"{measure} by bytes moved: {words}")
    return Chart(f"{measure.capitalize()} by bytes moved", svg, "", tuple(keys))


def _by_algorithm(moving: Sequence[MethodResult]) -> dict[str, list[MethodResult]]:
    """Multi-round methods by algorithm, each with rising bytes."""
    found: dict[str, list[MethodResult]] = defaultdict(list)
    for method in sorted(moving, key=lambda m: m.bytes_per_site):
        if role_of(method.method) is Role.ROUNDS:
            found[rounds_of(method.method)[0]].append(method)
    return dict(sorted(found.items()))


def _points(
    axes: Axes, methods: Sequence[MethodResult], by: Measure, colour: str, *, joined: bool = False
) -> None:
    """Values with their intervals; rounds of one algorithm are joined by a line."""
    drawn = [(m.bytes_per_site, by(m.metrics)) for m in methods if m.metrics]
    x = [moved for moved, _ in drawn]
    paint = COLOURS[colour]
    axes.vlines(
        x,
        [i.low for _, i in drawn],
        [i.high for _, i in drawn],
        color=paint,
        linewidth=4,
        alpha=0.4,
    )
    axes.plot(
        x,
        [interval.value for _, interval in drawn],
        color=paint,
        marker="o",
        markersize=8 if colour == "accent" else 6,
        markeredgewidth=0,
        linewidth=1.6,
        linestyle="-" if joined else "none",
    )


def _frame(axes: Axes, once: Sequence[MethodResult], rounds: Sequence[MethodResult]) -> None:
    """Ticks where methods stand, with the bytes and what moves them."""
    names = {m.bytes_per_site: "one file" for m in once}
    for method in rounds:
        count = rounds_of(method.method)[1]
        plural = "" if count == 1 else "s"
        names[method.bytes_per_site] = f"{count} round{plural}" if count else "rounds"
    first, last = min(names), max(names)
    room = math.log(last / first) / TICKS
    shown = sorted({first, last})
    for moved in sorted(names):
        if all(abs(math.log(moved / other)) >= room for other in shown):
            shown.append(moved)
    labels = [f"{size(moved)}\n{names[moved]}" for moved in shown]
    axes.set_xticks(shown, labels)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="y", linewidth=0.6)
    axes.tick_params(length=0)
    margin = max((last / first) ** 0.09, 1.5)
    axes.set_xlim(first / margin, last * margin)


def _moved(method: MethodResult, by: Measure) -> str:
    reached = percent(by(method.metrics).value) if method.metrics else ""
    return f"{size(method.bytes_per_site)} {reached}"
