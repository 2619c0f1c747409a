"""From what a model draws to a volume: where the brain is, and exactly zero outside of it."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import ndimage

from envoi.errors import DataError, Problem
from envoi.volumes import Grid, Volume

# Of intensities 0..1: above the unrest that sampling leaves in the background, below the fluid
# around the cortex.
_FAINTEST = 0.05


def brain_mask(
    voxels: Float[NDArray[np.float32], "depth height width"],
) -> Bool[NDArray[np.bool_], "depth height width"]:
    """The largest connected part that is not background, its holes filled."""
    parts, count = ndimage.label(voxels > _FAINTEST)
    if not count:
        return np.zeros(voxels.shape, dtype=bool)
    sizes = np.bincount(parts.ravel())[1:]
    mask: NDArray[np.bool_] = ndimage.binary_fill_holes(parts == 1 + int(sizes.argmax()))
    return mask


def as_volume(voxels: Float[NDArray[np.float32], "depth height width"], grid: Grid) -> Volume:
    """Intensities within 0..1, exactly 0 outside the brain.

    Args:
        voxels: About 0..1, as a model drew them.
        grid: Where they lie.

    Raises:
        DataError: There is no brain in them: a model that diverged, or has hardly learned.
    """
    mask = brain_mask(voxels)
    if not mask.any():
        remedy = "Train for longer, or with a lower rate."
        raise DataError(Problem("a brain", "nothing above the background", "volume", remedy))
    inside = np.where(mask, voxels.clip(0, 1), 0).astype(np.float32)
    return Volume(inside, grid)


def completed(
    voxels: Float[NDArray[np.float32], "depth height width"],
    scan: Volume,
    known: Bool[NDArray[np.bool_], "depth height width"],
) -> Volume:
    """A drawn volume in the place of its scan, whose known voxels are kept as they are.

    Raises:
        DataError: There is no brain in the drawn volume.
    """
    drawn = as_volume(voxels, scan.grid)
    return drawn.with_voxels(np.where(known, scan.voxels, drawn.voxels))
