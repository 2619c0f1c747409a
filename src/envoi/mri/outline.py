"""Where a brain ends: the outline is drawn as who somebody is, and exact before detail is drawn.

At the rim of a brain means of blocks of voxels are nothing like Gaussian: a block is full, empty or
cut. The signed distance to the outline is: outlines differ in it about as Gaussians do, and its
means over blocks of 4 x 4 x 4 voxels keep them (`benchmarks/mri_outline.py`). What blocks miss is a
mean, which is learned, and a little unrest, of one strength along all outlines.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from envoi.mri.field import BACKGROUND

Volume = Float[Tensor, "depth height width"]

# Farther from the outline than so many voxels distances are alike.
FARTHEST_VOXELS = 8.0
# The least of what is brain, from -1 to 1: files of 256 levels keep it.
DARKEST = BACKGROUND + 2 / 255
_NEAR_VOXELS = 2.0
_FAR = 10**6  # squared: where there is no outline
_SMOOTH = 3  # unrest: means of so many voxels along each axis; neighbours correlate by 0.6


class Outline(nn.Module):
    """What the coarse distances of a population miss; part of a model's state.

    Args:
        shape: Of the volumes.

    Attributes:
        missed: The mean of it over people, symmetric left to right.
        unrest: Its deviation near the outline, in voxels.
    """

    missed: Tensor
    unrest: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("missed", torch.zeros(*shape))
        self.register_buffer("unrest", torch.zeros(()))

    def learn(self, pairs: Iterable[tuple[Volume, Volume]]) -> None:
        """Take them from distances and what refined coarse ones make of each.

        Args:
            pairs: Of each person, one after the other.
        """
        count, total, squares = 0, torch.zeros_like(self.missed), 0.0
        near_by, near_total = torch.zeros_like(total), torch.zeros_like(total)
        for distance, refined in pairs:
            apart = distance - refined
            near = (distance.abs() < _NEAR_VOXELS).to(apart)
            count += 1
            total += apart
            near_by += near
            near_total += near * apart
            squares += float(apart.square_().mul_(near).sum())
            del distance, refined, apart, near  # the next pair takes memory
        self.missed.copy_((total + total.flip(-1)) / (2 * count))
        squares -= float((near_total.square() / near_by.clamp_min(1)).sum())
        self.unrest.fill_((max(squares, 0.0) / max(float(near_by.sum()), 1.0)) ** 0.5)

    def draw(self, refined: Volume, generator: torch.Generator) -> Volume:
        """The brain, 1 in it and 0 outside, around the refined coarse distance of somebody."""
        noise = torch.randn(refined.shape, generator=generator).to(refined)
        rough = functional.avg_pool3d(noise[None], _SMOOTH, 1, _SMOOTH // 2)[0]
        distance = rough.mul_(self.unrest * _SMOOTH**1.5).add_(refined).add_(self.missed)
        return (distance > 0).to(refined)


def brain_of(volumes: Tensor) -> Tensor:
    """1 where volumes from -1 to 1 are brain, else 0."""
    return (volumes > BACKGROUND).to(volumes)


def signed_distance(volume: Volume) -> Volume:
    """Voxels to the outline, positive within the brain, half a one beside it; at most 8."""
    brain = (volume > BACKGROUND).cpu().numpy()
    distance = np.sqrt(_squared_depth(brain) + _squared_depth(~brain)) - 0.5
    np.negative(distance, out=distance, where=~brain)
    distance.clip(-FARTHEST_VOXELS, FARTHEST_VOXELS, out=distance)
    return torch.from_numpy(distance.astype(np.float32)).to(volume.device)


def _squared_depth(part: Bool[NDArray[np.bool_], "_ _ _"]) -> Int[NDArray[np.int32], "_ _ _"]:
    """Squared voxels from each voxel of a part to the nearest outside of it; 0 outside.

    Of the nearest voxels' places: SciPy's own distances take twice the memory.
    """
    if part.all():
        return np.full(part.shape, _FAR, np.int32)
    places = ndimage.distance_transform_edt(part, return_distances=False, return_indices=True)
    squares = np.zeros(part.shape, np.int32)
    each: Iterable[NDArray[np.int32]] = np.indices(part.shape, np.int32, sparse=True)
    for nearest, own in zip(places, each, strict=True):
        apart = np.subtract(nearest, own, out=nearest)
        squares += np.square(apart, out=apart)
    return squares


def outline_of(volume: Volume, known: Volume) -> Volume:
    """1 where known voxels lie beside a known one on the other side of the outline."""
    inside = known * brain_of(volume)
    outside = known - inside
    return torch.maximum(inside * _beside(outside), outside * _beside(inside))


def _beside(part: Volume) -> Volume:
    """1 at the part and at the six neighbours of its voxels."""
    grown = [
        functional.max_pool3d(
            part[None],
            tuple(3 if other == axis else 1 for other in range(3)),
            stride=1,
            padding=tuple(int(other == axis) for other in range(3)),
        )[0]
        for axis in range(3)
    ]
    return torch.stack(grown).amax(dim=0)
