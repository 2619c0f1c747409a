"""Slices that are given: what a volume is completed from.

A mask of the volume is 1 where a voxel is known. In training masks are drawn by a law that
covers what people have: nothing, a block of slices, every n-th slice, a few scattered ones, in
any of the three planes (cDPM's window law, doi 10.1007/978-3-031-43993-3_2, has combs alone and
gives nothing in 70 % of the cases).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from envoi.errors import Problem, SettingsError
from envoi.mri.choices import below, uniform
from envoi.mri.slabs import Plane, facing
from envoi.wording import counted

Mask = Float[Tensor, "depth height width"]
NOTHING_GIVEN = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Known voxels that a drawn volume has to keep.

    Attributes:
        voxels: From -1 to 1; only those under the mask are read.
        mask: 1 where a voxel is known.
    """

    voxels: Tensor
    mask: Mask


def random_mask(
    shape: tuple[int, int, int], generator: torch.Generator, *, nothing: float = NOTHING_GIVEN
) -> Mask:
    """A mask of the law: with probability `nothing` empty, else a block, a comb or scattered.

    Args:
        shape: Of the volume.
        generator: Source of all randomness.
        nothing: Share of masks that give nothing.
    """
    mask = torch.zeros(shape)
    if uniform(generator) < nothing:
        return mask
    plane = list(Plane)[below(3, generator)]
    known = facing(mask, plane)  # a view: what is written here is in the mask
    slices, kind = len(known), below(3, generator)
    if kind == 0:
        length = 1 + below(max(1, slices // 2), generator)
        start = below(slices - length + 1, generator)
        known[start : start + length] = 1
    elif kind == 1:
        step = 2 + below(9, generator)
        known[below(min(step, slices), generator) :: step] = 1
    else:
        count = 1 + below(max(1, slices // 4), generator)
        known[torch.randperm(slices, generator=generator)[:count]] = 1
    return mask


def given_slices(
    voxels: Float[NDArray[np.float32], "depth height width"],
    plane: Plane,
    *,
    slices: str | None = None,
    every: int | None = None,
) -> Given:
    """The slices of a scan that are kept: those named, or every n-th.

    Args:
        voxels: Intensities from 0 to 1.
        plane: Which slices are meant.
        slices: Such as `40:60` (40 to 59, counted from 0) or `3,7,12`.
        every: Keep slices 0, n, 2n and so on.

    Raises:
        SettingsError: Neither or both are asked for, slices lie outside the scan, none of them
            shows the brain, or all are kept.
    """
    brain = facing(torch.from_numpy(voxels > 0), plane).flatten(1).any(dim=1)
    if (slices is None) == (every is None):
        found = "neither" if slices is None else "both"
        remedy = f"Say --every 4, or {_example(brain)}."
        raise SettingsError(Problem("slices to keep, or every n-th", found, "slices", remedy))
    mask = torch.zeros(voxels.shape)
    known = facing(mask, plane)  # a view: what is written here is in the mask
    kept = range(0, len(known), every) if every else slices_given(slices or "", len(known))
    known[list(kept)] = 1
    if not brain[list(kept)].any():
        found = f"background alone in {counted(len(kept), 'slice')}"
        remedy = f"Keep some of the brain's {plane.value} slices, such as {_example(brain)}."
        raise SettingsError(Problem("slices that show the brain", found, "slices", remedy))
    if len(kept) == len(known):
        remedy = f"Keep fewer, such as {_example(brain)} or --every 4."
        found = f"all {len(known)} kept"
        raise SettingsError(Problem("slices to generate", found, "slices", remedy))
    return Given(2 * torch.from_numpy(voxels) - 1, mask)


def _example(brain: Bool[Tensor, " slice"]) -> str:
    """The middle third of the slices that show the brain, as an option."""
    shown = brain.nonzero().flatten().tolist() or [0, len(brain) - 1]
    first, length = shown[0], shown[-1] + 1 - shown[0]
    start = first + length // 3
    return f"--slices {start}:{start + max(1, length // 3)}"


def slices_given(words: str, slices: int) -> list[int]:
    """The slices that `40:60` (40 to 59) or `3,7,12` name.

    Raises:
        SettingsError: They are no slices of the volume.
    """
    try:
        named = [number for part in words.split(",") for number in _range(part)]
    except ValueError as err:
        raise _refused("slices such as 40:60 or 3,7,12", words, slices) from err
    if not named or min(named) < 0 or max(named) >= slices:
        raise _refused(f"slices within 0:{slices}", words, slices)
    return sorted(set(named))


def _range(part: str) -> range:
    first, colon, last = part.partition(":")
    start = int(first)
    return range(start, int(last) if colon else start + 1)


def _refused(expected: str, found: str, slices: int) -> SettingsError:
    remedy = f"Count from 0 to {slices - 1}; the end of a range is not in it."
    return SettingsError(Problem(expected, repr(found)[:80], "slices", remedy))
