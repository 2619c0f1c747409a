"""Which slices a window of cDPM holds: the law of training and the order of sampling.

After the paper's public code (doi 10.1007/978-3-031-43993-3_2), which takes it from flexible video
diffusion (arXiv:2205.11495, appendix): a *comb* is a few slices at equal distances.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from envoi.mri.choices import below, uniform

SLOTS = 20
KNOWN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Window:
    """Slices that are known and slices to be found, by their numbers; no slice is both."""

    known: tuple[int, ...]
    wanted: tuple[int, ...]

    @property
    def slices(self) -> tuple[int, ...]:
        """All of them, the known ones first."""
        return self.known + self.wanted


def comb(slices: int, generator: torch.Generator, *, slots: int = SLOTS) -> list[int]:
    """Of s ~ U{1..slots} slices, spaced exp(u ln(D / (s - 0.999))), u ~ U(0, 1), start uniform."""
    count = 1 + below(min(slots, slices), generator)
    u, place = uniform(generator), uniform(generator)
    spacing = math.exp(u * math.log(slices / (count - 0.999)))
    spacing = min(spacing, slices / max(count - 1, 1) if count > 1 else slices)
    start = place * max(slices - spacing * (count - 1), 0)
    numbers = [min(int(start + spacing * number), slices - 1) for number in range(count)]
    return sorted(set(numbers))


def random_window(
    slices: int, generator: torch.Generator, *, slots: int = SLOTS, known_share: float = KNOWN_SHARE
) -> Window:
    """One comb to find; then, until one no longer fits, a coin gives each to either side.

    Args:
        slices: Of the volume.
        generator: Source of all randomness.
        slots: Slices of a window at the most.
        known_share: How often the coin gives a comb to the known side.
    """
    wanted, known = comb(slices, generator, slots=slots), list[int]()
    while True:
        side = known if uniform(generator) < known_share else wanted
        taken = {*known, *wanted}
        more = [number for number in comb(slices, generator, slots=slots) if number not in taken]
        if len(taken) == slices or len(taken) + len(more) > slots:
            return Window(tuple(sorted(known)), tuple(sorted(wanted)))
        side += more


def sampling_windows(slices: int, *, slots: int = SLOTS) -> Iterator[Window]:
    """The first `slots` slices from nothing, then always the last half as known and as many new."""
    half = slots // 2
    done = min(slots, slices)
    yield Window((), tuple(range(done)))
    while done < slices:
        new = range(done, min(done + half, slices))
        yield Window(tuple(range(done - half, done)), tuple(new))
        done = new.stop


def sampling_borders(slices: int, *, slots: int = SLOTS) -> tuple[int, ...]:
    """The first new slice of every sampling window but the lowest: where windows meet."""
    _, *others = sampling_windows(slices, slots=slots)
    return tuple(window.wanted[0] for window in others)
