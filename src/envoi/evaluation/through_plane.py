"""How slices follow one another: what models that see slices get wrong first.

Four views. Jumps: the distribution of |x[z] - x[z+1]| within the brain, for each axis, against
that of real volumes (two-sample Kolmogorov-Smirnov distance). Seams: whether jumps are larger at
the borders of the windows in which a model made the volume, where these are known, and anywhere
(`envoi.evaluation.seams`). Spectrum: energy along the depth
against that in the plane, band by band. A model that treats all axes alike differs from real
volumes equally along each.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

from envoi.errors import Problem, SettingsError
from envoi.evaluation.arrays import Volumes, check_same_shape
from envoi.evaluation.scores import AXES, Axis, Band, ThroughPlane
from envoi.evaluation.seams import RealSteps, seams_anywhere

JUMP_BINS = 4096
NEAR_SLICES = 3
BAND_EDGES = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2)  # cycles per voxel
_PART = 8
_MOST_SEAMS = 1000.0  # where nothing else differs: a number, for files

Histogram = Float[NDArray[np.float64], " _bin"]
Counts = Int64[NDArray[np.int64], " _bin"]


def through_plane(
    volumes: Volumes, reference: Volumes, *, borders: tuple[int, ...], steps: RealSteps
) -> ThroughPlane:
    """Jumps, seams and spectrum of a set against real volumes.

    Args:
        volumes: The set.
        reference: Real volumes of the same shape.
        borders: Slices at which a window begins, as `seam_index` takes them.
        steps: Of the real volumes, against which seams are sought anywhere.

    Raises:
        ShapeError: Shapes differ.
        SettingsError: A border is no slice that has one below it, or there is none.
    """
    check_same_shape(volumes, reference, "volumes")
    ours, theirs = spectrum_ratios(volumes), spectrum_ratios(reference)
    edges = itertools.pairwise(BAND_EDGES)
    return ThroughPlane(
        {axis: jump_distance(volumes, reference, axis) for axis in AXES},
        seam_index(volumes, borders),
        seam_index(reference, borders),
        seams_anywhere(volumes, steps),
        tuple(
            Band(low, high, our, their)
            for (low, high), our, their in zip(edges, ours, theirs, strict=True)
        ),
    )


def jump_distance(volumes: Volumes, reference: Volumes, axis: Axis) -> float:
    """Two-sample Kolmogorov-Smirnov statistic of |difference of neighbours| along an axis.

    Distributions are compared at 4096 steps of the intensity, so that memory is that of a few
    volumes, whatever their number.
    """
    return distance_of_counts(*(jump_counts(part, axis) for part in (volumes, reference)))


def jump_counts(volumes: Volumes, axis: Axis) -> Counts:
    """How many neighbours, both within the brain, differ by each step of the intensity.

    Those of two sets together are their sum.
    """
    counts = np.zeros(JUMP_BINS, dtype=np.int64)
    for part in _parts(volumes):
        turned = np.moveaxis(part, AXES.index(axis) + 1, 1)
        inside = (turned[:, 1:] > 0) & (turned[:, :-1] > 0)
        jumps = np.abs(np.diff(turned, axis=1))[inside]
        counts += np.histogram(jumps, bins=JUMP_BINS, range=(0, 1))[0]
    return counts


def distance_of_counts(ours: Counts, theirs: Counts) -> float:
    """The Kolmogorov-Smirnov statistic of what `jump_counts` counted in two sets."""
    one, other = (np.cumsum(counts / max(1, counts.sum())) for counts in (ours, theirs))
    return float(np.abs(one - other).max())


def seam_index(volumes: Volumes, borders: tuple[int, ...]) -> float:
    """Mean jump at borders over the mean jump near them; 1 is no seam.

    Near are the steps between slices up to 3 away that are no borders themselves: how much
    slices differ depends on where in the brain they are, so that steps far away are no measure.

    Args:
        volumes: The set.
        borders: The first slice of each window but the lowest: z for the step from z - 1 to z.

    Raises:
        SettingsError: A border is no slice that has one below it, or there is none.
    """
    depth = volumes.shape[1]
    wrong = [border for border in borders if not 1 <= border < depth]
    if wrong or not borders:
        raise SettingsError(
            Problem(
                f"slices from 1 to {depth - 1} at which a window begins",
                f"{wrong or 'none'}",
                "borders",
                "Give the slices at which the model's windows meet.",
            )
        )
    sums, counts = _step_sums(volumes)
    within = {border for border in borders if counts[border - 1]}
    near = {
        step
        for border in within
        for step in range(max(1, border - NEAR_SLICES), min(depth, border + NEAR_SLICES + 1))
        if counts[step - 1]
    } - set(borders)
    if not near:
        return 1.0
    at, off = (np.array(sorted(steps), dtype=int) - 1 for steps in (within, near))
    means = (float(sums[part].sum() / counts[part].sum()) for part in (at, off))
    return min(_ratio(*means), _MOST_SEAMS)


def mean_jumps(volumes: Volumes) -> Histogram:
    """Mean |x[z] - x[z+1]| within the brain for each step along the depth; 0 outside of it."""
    sums, counts = _step_sums(volumes)
    means: Histogram = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    return means


def spectrum_ratios(volumes: Volumes) -> tuple[float, ...]:
    """Energy along the depth over the mean energy along height and width, in each band."""
    depth, height, width = (_band_energies(volumes, axis) for axis in AXES)
    return tuple(
        _ratio(along, (down + across) / 2)
        for along, down, across in zip(depth, height, width, strict=True)
    )


def _step_sums(volumes: Volumes) -> tuple[Histogram, Histogram]:
    """Sum of jumps and number of neighbours within the brain, for each step along the depth."""
    sums, counts = np.zeros((2, volumes.shape[1] - 1))
    for part in _parts(volumes):
        inside = (part[:, 1:] > 0) & (part[:, :-1] > 0)
        sums += np.where(inside, np.abs(np.diff(part, axis=1)), 0).sum(axis=(0, 2, 3))
        counts += inside.sum(axis=(0, 2, 3))
    return sums, counts


def _band_energies(volumes: Volumes, axis: Axis) -> list[float]:
    """Mean energy per frequency of all lines along an axis, in each band.

    Lines are weighted by a Hann window, so that the two ends of a brain that fills the volume
    do not count as an edge.
    """
    number = AXES.index(axis) + 1
    size = volumes.shape[number]
    frequencies, energy = np.fft.rfftfreq(size), np.zeros(size // 2 + 1)
    for part in _parts(volumes):
        lines = np.moveaxis(part, number, -1) * np.hanning(size)
        energy += (np.abs(np.fft.rfft(lines)) ** 2).sum(axis=(0, 1, 2))
    lines_each = volumes.size / size
    bands = itertools.pairwise((*BAND_EDGES[:-1], np.inf))
    return [
        float(energy[(frequencies >= low) & (frequencies < high)].mean() / (lines_each * size))
        for low, high in bands
    ]


def _parts(volumes: Volumes) -> Iterator[Volumes]:
    """A few volumes at a time."""
    for start in range(0, len(volumes), _PART):
        yield volumes[start : start + _PART]


def _ratio(above: float, below: float) -> float:
    """Their quotient; 1 where both are 0, as in volumes of one value."""
    if below == 0:
        return 1.0 if above == 0 else float("inf")
    return float(above / below)
