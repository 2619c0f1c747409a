"""From noise to data in few steps.

What many voxels have in common rises out of the noise while that is still ten times as strong as a
single voxel. The first steps are therefore the shortest, and each looks ahead by how much the data,
as they are seen, changed since the one before. Equal steps that do not look ahead leave a part of
the variance behind.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from envoi.mri.angles import noise_of, rotated, schedule

# Of a step: z_t, its angle, its time; to data and noise.
Parts = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def walk(split: Parts, state: Tensor, share: Tensor, steps: int) -> Tensor:
    """From noise to data; each step turns data and noise as they are then seen.

    That is DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2), whose first and last steps are of
    first order (DDIM): exact where the data seen change in proportion to the logarithm of the
    signal's strength over the noise's.

    Memory: while a step is split, z_t, its angle and the data of the step before; the noise of the
    start is let go after the first step, where the caller keeps no name for it.

    Args:
        split: Tells data and noise at each step.
        state: Noise, of variance one.
        share: As `schedule` takes it.
        steps: How many.
    """
    times = step_times(steps)
    angle, before = schedule(0, share), state
    for number in range(steps):
        seen, noise = split(state, angle, times[number])
        data = seen
        if ahead := _ahead(times, number):
            del noise
            data = torch.lerp(before, seen, 1 + ahead)
            noise = noise_of(state, data, angle)
        before = seen
        angle = schedule(times[number + 1], share)
        state = rotated(data, noise, angle)
        del seen, data, noise  # the next split is where memory peaks
    return state


def step_times(steps: int) -> list[float]:
    """From 0 to 1: the shortest steps come first, and the last are shorter than those before."""
    done = [number / steps for number in range(steps + 1)]
    return [share**2 * (2 - share) for share in done]


def _ahead(times: Sequence[float], number: int) -> float:
    """Half a step in units of the step before: 0 in the first two steps and in the last."""
    if number < 2 or number + 2 == len(times):
        return 0.0
    before, time, later = times[number - 1 : number + 2]
    return _gained(time, later) / _gained(before, time) / 2


def _gained(time: float, later: float) -> float:
    """By how much the logarithm of signal over noise grows, at every voxel alike."""
    quarter = math.pi / 2
    return math.log(math.tan(quarter * later) / math.tan(quarter * time))
