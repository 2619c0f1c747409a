"""Slices that are given: what a volume is completed from.

A mask of the volume is 1 where a voxel is known. In training masks are drawn by a law that
covers what people have: nothing, a block of slices, every n-th slice, a few scattered ones, in
any of the three planes (cDPM's window law, doi 10.1007/978-3-031-43993-3_2, has combs alone and
gives nothing in 70 % of the cases).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from envoi.errors import Problem, SettingsError
from envoi.mri.choices import below, uniform
from envoi.mri.slabs import Plane, facing

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
        slices: Such as `40:60` or `3,7,12`.
        every: Keep slices 0, n, 2n and so on.

    Raises:
        SettingsError: Neither or both are asked for, or slices lie outside the scan.
    """
    if (slices is None) == (every is None):
        found = "neither" if slices is None else "both"
        remedy = "Say --slices 40:60, or --every 4."
        raise SettingsError(Problem("slices to keep, or every n-th", found, "slices", remedy))
    mask = torch.zeros(voxels.shape)
    known = facing(mask, plane)  # a view: what is written here is in the mask
    if slices is not None:
        known[slices_given(slices, len(known))] = 1
    else:
        known[::every] = 1
    return Given(2 * torch.from_numpy(voxels) - 1, mask)


def slices_given(words: str, slices: int) -> list[int]:
    """The slices that `40:60` (40 to 59) or `3,7,12` name.

    Raises:
        SettingsError: They are no slices of the volume.
    """
    try:
        named = [number for part in words.split(",") for number in _range(part)]
    except ValueError as err:
        raise _refused("slices such as 40:60 or 3,7,12", words) from err
    if not named or min(named) < 0 or max(named) >= slices:
        raise _refused(f"slices within 0:{slices}", words)
    return sorted(set(named))


def _range(part: str) -> range:
    first, colon, last = part.partition(":")
    start = int(first)
    return range(start, int(last) if colon else start + 1)


def _refused(expected: str, found: str) -> SettingsError:
    return SettingsError(Problem(expected, repr(found)[:80], "slices", "Name slices of the scan."))
