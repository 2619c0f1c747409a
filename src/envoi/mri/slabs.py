"""Slabs: runs of adjacent slices that a 2D network takes as channels.

A volume is cut along one of three planes. At every step of sampling the cuts lie elsewhere
(shifted at random), and overlapping slabs are blended, so that no border is ever seen twice.
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

VolumeMaps = Float[Tensor, "channel depth height width"]
Slab = Float[Tensor, "channel slice row column"]


class Plane(StrEnum):
    """Which slices a slab is made of; its number is the axis they are stacked along."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"

    @property
    def axis(self) -> int:
        """0 is depth, 1 height, 2 width."""
        return list(Plane).index(self)


def facing(volume: Tensor, plane: Plane) -> Tensor:
    """The last three axes with the plane's axis first: `(..., slice, row, column)`."""
    return volume.movedim(plane.axis - 3, -3)


def turned_back(slices: Tensor, plane: Plane) -> Tensor:
    """The inverse of `facing`."""
    return slices.movedim(-3, plane.axis - 3)


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where slabs of a volume start, and how much each counts at each slice.

    Attributes:
        starts: First slice of each slab.
        weights: `(slab, slice within the slab)`; over all slabs they sum to one at each slice.
    """

    starts: tuple[int, ...]
    weights: Float[Tensor, "slab slice"]


def cuts(slices: int, thickness: int, overlap: int, shift: int) -> Cuts:
    """Slabs that cover all slices, moved by `shift`; those at the ends stay inside.

    Args:
        slices: Of the volume along the plane's axis, at least `thickness`.
        thickness: Slices of a slab.
        overlap: Slices that neighbouring slabs share, less than `thickness`.
        shift: From 0 to below `thickness - overlap`.
    """
    stride, last = thickness - overlap, slices - thickness
    wanted = range(shift - stride, slices, stride)
    starts = sorted({min(max(start, 0), last) for start in wanted})
    ramp = torch.arange(1, thickness + 1, dtype=torch.float32)
    tent = torch.minimum(ramp, ramp.flip(0)).clamp_max(overlap + 1)
    total = torch.zeros(slices)
    for start in starts:
        total[start : start + thickness] += tent
    weights = [tent / total[start : start + thickness] for start in starts]
    return Cuts(tuple(starts), torch.stack(weights))
