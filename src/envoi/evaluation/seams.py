"""Seams wherever they are: steps between slices that stand out beside those of real people.

A model that shifts and turns its slabs has no slice at which windows meet in every volume, so that
steps averaged over volumes tell nothing of it. Here each volume is searched by itself. Between two
neighbouring slices, along each axis, two readings are taken within the brain:

- *brightness*: by how much the mean intensity steps beyond half of the steps before and after it,
  over the brain's mean intensity (a slab that is brighter than the next one);
- *jump*: log of the mean |difference|, over that of the steps before and after it (slabs that do
  not fit one another, or are a voxel aside).

Anatomy steps too, and at about the same place in everybody. So each reading is compared with that
of real people at the same slices, in their standard deviations; seams come at regular distances,
so that the score of a volume is the largest mean over any comb of 8 to 16 slices, on any axis, in
either reading. Noise, blur and another size of brain hardly move it, since they are alike
everywhere. What it does not know: seams at irregular distances, or a single one, count half or
less, and a position in the volume where few real people have brain is not looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from envoi.evaluation.arrays import Volumes
from envoi.volumes import Voxels

STRIDES = range(8, 17)
LEAST_TEETH = 2
LEAST_BRAIN = 0.2  # of the largest slice's voxels; smaller slices are the ends of the brain
FLATTEST = 1e-6

# NaN where there is no brain, and beyond the end of the shorter axes.
Readings = Float[NDArray[np.float64], "_volume 3 2 _step"]
Profile = Float[NDArray[np.float64], "3 2 _step"]
Steps = Float[NDArray[np.float64], " _step"]
Values = NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class RealSteps:
    """What real people's readings are at each step, for each axis.

    Attributes:
        mean: Over people; NaN where fewer than half of them have brain.
        deviation: Of one more person: the standard deviation over people, widened where the mean
            is of few, and half of what is usual, as squares added: of a few people some deviation
            is almost 0 by chance.
    """

    mean: Profile
    deviation: Profile


def step_readings(volumes: Volumes) -> Readings:
    """Brightness and jump at each step of each volume along depth, height and width."""
    longest = max(volumes.shape[1:])
    readings = np.full((len(volumes), 3, 2, longest), np.nan)
    for volume, voxels in enumerate(volumes):
        for axis in range(3):
            told = _along(np.moveaxis(voxels, axis, 0))
            readings[volume, axis, :, 1 : 1 + told.shape[1]] = told
    return readings


def real_steps(readings: Readings) -> RealSteps:
    """Mean and deviation over people, half of whom have brain there."""
    known = ~np.isnan(readings)
    people = known.sum(axis=0)
    enough = people >= max(2, len(readings) / 2)
    mean = _over(np.where(known, readings, 0).sum(axis=0), np.where(enough, people, 0))
    apart = np.where(known, readings - mean, 0)
    variance = _over(np.square(apart).sum(axis=0), np.where(enough, people - 1, 0))
    variance *= 1 + 1 / np.maximum(people, 1)
    usual = [[_median(line) for line in axis] for axis in variance]
    return RealSteps(mean, np.sqrt(variance + np.array(usual)[..., None] / 4))


def seam_scores(readings: Readings, real: RealSteps) -> Float[NDArray[np.float64], " _volume"]:
    """Of each volume, in deviations of real people; about 2 in real people, 0 in flat volumes."""
    apart = _over(readings - real.mean, np.where(real.deviation > 0, real.deviation, 0))
    apart[:, :, 0] = np.abs(apart[:, :, 0])  # brighter or darker; a smaller jump is no seam
    return np.array([max(map(_worst_comb, one.reshape(-1, one.shape[-1]))) for one in apart])


def seams_anywhere(volumes: Volumes, real: RealSteps) -> float:
    """The mean score of a set."""
    return float(seam_scores(step_readings(volumes), real).mean())


def _along(slices: Voxels) -> Float[NDArray[np.float64], "2 _step"]:
    """Both readings at all steps that have one before and one after them."""
    inside = slices > 0
    both = inside[1:] & inside[:-1]
    four = both[1:-1] & both[:-2] & both[2:]
    counts = four.sum(axis=(1, 2))
    counts[counts < LEAST_BRAIN * counts.max(initial=1)] = 0
    steps = np.diff(slices, axis=0)
    around = (steps[:-2] + steps[2:]) / 2
    sizes = np.abs(steps)
    brightness = _over(_sums(steps[1:-1] - around, four), counts) / slices[inside].mean()
    jump = _over(_sums(sizes[1:-1], four), counts) + FLATTEST
    near = _over(_sums((sizes[:-2] + sizes[2:]) / 2, four), counts) + FLATTEST
    return np.stack([brightness, np.log(jump / near)])


def _sums(values: Values, where: NDArray[np.bool_]) -> Steps:
    sums: Steps = np.where(where, values, 0).sum(axis=(1, 2), dtype=np.float64)
    return sums


def _worst_comb(line: Steps) -> float:
    """The largest mean of every n-th value, over all n and beginnings; 0 where none is known."""
    return max((comb for stride in STRIDES for comb in _combs(line, stride)), default=0.0)


def _combs(line: Steps, stride: int) -> Iterator[float]:
    for first in range(stride):
        teeth = line[first::stride]
        teeth = teeth[~np.isnan(teeth)]
        if len(teeth) >= LEAST_TEETH:
            yield float(teeth.mean())


def _median(line: Steps) -> float:
    known = line[~np.isnan(line)]
    return float(np.median(known)) if known.size else 0.0


def _over(above: Values, below: NDArray[np.number]) -> NDArray[np.float64]:
    """The quotient; NaN where there is nothing to divide by."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    quotient: NDArray[np.float64] = np.full(shape, np.nan)
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
