"""Charts of a comparison of volumes, each a pure function from scores or volumes to a `Chart`."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from envoi.evaluation.scores import PLANES, RegionVolume, VolumeScores
from envoi.evaluation.through_plane import mean_jumps
from envoi.report.canvas import COLOURS, Chart, Key, bare, canvas, row_words, series, slug
from envoi.report.names import decimal
from envoi.report.volumes.sets import VolumeSets
from envoi.report.volumes.table import SETS
from envoi.results import Interval

INK, MUTED, ACCENT, RULE = (COLOURS[name] for name in ("ink", "muted", "accent", "rule"))
DOTS = 150
MARKS = ("o", "D", "s")

_KEYS = (Key("accent", "synthetic"), Key("ink", "real, held out"), Key("muted", "real, training"))


def frechet(scores: VolumeScores) -> tuple[Chart, ...]:
    """Distances of all sets in each plane, a chart for each extractor."""
    return tuple(_frechet(scores, extractor) for extractor in scores.synthetic.extractors)


def jumps(scores: VolumeScores, sets: VolumeSets) -> Chart:
    """How much neighbouring axial slices differ, along the head."""
    with canvas(250) as drawing:
        axes = drawing.axes()
        lines = (
            (sets.training, MUTED, 3.0),
            (sets.held_out, INK, 1.2),
            (sets.synthetic, ACCENT, 1.8),
        )
        for volumes, colour, width in lines:
            heights = mean_jumps(volumes)
            axes.plot(np.arange(1, len(heights) + 1), heights, color=colour, linewidth=width)
        for border in scores.borders:
            axes.axvline(border, color=RULE, linewidth=1, linestyle=(0, (2, 3)), zorder=0)
        axes.set(xlabel="step to slice, from below", ylabel="mean |difference|", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(length=0)
        told = scores.synthetic.through_plane
        real = scores.held_out.through_plane.seams_anywhere
        svg = drawing.svg(
            "chart-jumps",
            "Mean jump between axial slices along the depth, synthetic and real; "
            f"seams {told.seams:.2f}, real {told.reference_seams:.2f}",
        )
    reading = (
        "Dotted: the slices at which seams are looked for. A peak of the synthetic line there, "
        f"which real brains lack, is a seam: {told.seams:.2f} times as large as the steps near by, "
        f"{told.reference_seams:.2f} times in training brains. A model whose slabs begin "
        "anywhere has no such slices; its seams are looked for in each brain by itself: "
        f"{told.seams_anywhere:.1f} deviations, {real:.1f} in held-out brains."
    )
    return Chart("Steps through the head", svg, reading, _KEYS)


def spectrum(scores: VolumeScores) -> Chart:
    """Energy along the depth over that in the plane, from coarse to fine."""
    bands = scores.synthetic.through_plane.spectrum
    lines = (
        ([band.reference_ratio for band in bands], MUTED, 3.0),
        ([band.ratio for band in scores.held_out.through_plane.spectrum], INK, 1.2),
        ([band.ratio for band in bands], ACCENT, 1.8),
    )
    with canvas(250) as drawing:
        axes = drawing.axes()
        for ratios, colour, width in lines:
            axes.plot(ratios, color=colour, linewidth=width, marker="o", markersize=4)
        axes.axhline(1, color=RULE, linewidth=1, zorder=0)
        axes.set_xticks(range(len(bands)), [f"{band.low:.2f} to {band.high:.2f}" for band in bands])
        axes.set(xlabel="cycles per voxel", ylabel="along depth / in plane")
        axes.tick_params(length=0)
        words = ", ".join(f"{band.ratio:.2f} (real {band.reference_ratio:.2f})" for band in bands)
        svg = drawing.svg("chart-spectrum", f"Energy along the depth over in plane: {words}")
    reading = (
        "The right end is the finest detail. Above the real line slices differ too much from one "
        "another, below it they are too smooth along the head."
    )
    return Chart("Detail along the head and in the plane", svg, reading, _KEYS)


def regions(scores: VolumeScores) -> Chart:
    """Volumes of all regions, a dot for each brain, with Cohen's d."""
    pairs = list(zip(scores.synthetic.anatomy, scores.held_out.anatomy, strict=True))
    with canvas(86 * len(pairs)) as drawing:
        for row, (ours, real) in enumerate(pairs, start=1):
            _region(drawing.axes(len(pairs), row), ours, real)
        words = "; ".join(f"{ours.region} d {ours.effect}" for ours, _ in pairs)
        svg = drawing.svg("chart-regions", f"Volumes of regions, synthetic against real: {words}")
    most = max(scores.training_volumes, *(one.volumes for one in scores.rows[:2]))
    cut = f" At most {DOTS} brains of a set are drawn." if most > DOTS else ""
    reading = (
        "Each dot is one brain, in millilitres. d is Cohen's, against the training brains, with "
        "its 95% interval: 0 is no difference, 0.8 a large one. Regions are a stand-in for a "
        f"segmentation (three intensities and rules).{cut}"
    )
    return Chart("Volumes of regions", svg, reading, _KEYS)


def effects(scores: VolumeScores) -> Chart:
    """Cohen's d of every region with its interval, synthetic above real against real."""
    pairs = list(zip(scores.synthetic.anatomy, scores.held_out.anatomy, strict=True))
    with canvas(40 * len(pairs) + 26) as drawing:
        axes = drawing.axes()
        for row, (ours, real) in enumerate(pairs):
            _effect(axes, -row, ours.effect, ACCENT)
            _effect(axes, -row - 0.25, real.effect, INK)
            row_words(axes, -row, ours.region, decimal(ours.effect.value, 2, signed=True))
        axes.axvline(0, color=MUTED, linewidth=1, zorder=1)
        axes.set_ylim(0.3 - len(pairs), 0.85)
        axes.set_yticks([])
        bare(axes)
        words = "; ".join(f"{ours.region} {ours.effect}" for ours, _ in pairs)
        svg = drawing.svg("chart-effects", f"Cohen's d of each region, synthetic: {words}")
    reading = (
        "Left of the line a region is smaller than in the training brains, right of it larger, in "
        "standard deviations; the bar is the 95% interval. That of held-out brains shows what "
        "chance does."
    )
    return Chart("How far regions are off", svg, reading, _KEYS[:2])


def _frechet(scores: VolumeScores, extractor: str) -> Chart:
    told = [(row.name, list(row.distances(extractor).values())) for row in scores.rows]
    every = [distance for _, distances in told for distance in distances]
    floor = min((distance for distance in every if distance > 0), default=1.0)
    with canvas(35 * len(told) + 26) as drawing:
        axes = drawing.axes()
        axes.set_xscale("log")
        axes.set_xlim(0.8 * floor, 1.25 * max(*every, 2 * floor))
        axes.set_ylim(0.55 - len(told), 0.85)
        for index, (name, distances) in enumerate(told):
            _distances(axes, -index, name, [max(distance, floor) for distance in distances])
        axes.set_yticks([])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda distance, _: f"{distance:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="x", linewidth=0.6)
        bare(axes)
        axes.tick_params(which="both", length=0)
        words = "; ".join(f"{name} {_figures(distances)}" for name, distances in told)
        svg = drawing.svg(f"frechet-{slug(extractor)}", f"Frechet distance, {extractor}: {words}")
    keys = tuple(Key(series(index), plane) for index, plane in enumerate(PLANES))
    group = scores.synthetic.frechet[0].group_volumes
    reading = (
        f"From the training brains, in groups of {group}; further left is better, each line is ten "
        "times the one before. Held-out is as far left as real brains come; the rows below it are "
        "wrong on purpose. Distances on other extractors do not compare."
    )
    return Chart(f"Frechet distance on {extractor}", svg, reading, keys)


def _distances(axes: Axes, y: int, name: str, distances: Sequence[float]) -> None:
    axes.axhline(y, color=RULE, linewidth=1, zorder=1)
    for index, distance in enumerate(distances):
        style: dict[str, Any] = {"markersize": 7 if index else 8, "markeredgewidth": 0}
        axes.plot(distance, y, MARKS[index], color=COLOURS[series(index)], **style)
    title = SETS.get(name, (name, ""))[0]
    row_words(axes, y, title, _figures(distances), bold=name == "synthetic")


def _figures(distances: Iterable[float]) -> str:
    return " / ".join(f"{distance:.1f}" for distance in distances)


def _effect(axes: Axes, y: float, effect: Interval, colour: str) -> None:
    axes.plot([effect.low, effect.high], [y, y], color=colour, linewidth=3, alpha=0.45)
    axes.plot(effect.value, y, "o", color=colour, markersize=7, markeredgewidth=0)


def _region(axes: Axes, ours: RegionVolume, real: RegionVolume) -> None:
    sets = (
        (ours.millilitres, ACCENT),
        (real.millilitres, INK),
        (ours.reference_millilitres, MUTED),
    )
    for index, (millilitres, colour) in enumerate(sets):
        dots = np.asarray(millilitres)[:: -(-len(millilitres) // DOTS)]
        axes.plot(dots, np.full(len(dots), -index), "o", color=colour, markersize=5, alpha=0.4)
        axes.plot(np.mean(millilitres), -index, "|", color=colour, markersize=11, markeredgewidth=2)
    axes.set_ylim(-2.6, 1.7)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    bare(axes)
    effect = ours.effect
    low, value, high = (
        decimal(part, 2, signed=True) for part in (effect.low, effect.value, effect.high)
    )
    row_words(axes, 1, f"{ours.region}, ml", f"d {value} [{low}, {high}]")
