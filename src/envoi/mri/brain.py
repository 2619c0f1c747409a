"""From what a model draws to a volume: where the brain is, and exactly zero outside of it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import ndimage

from envoi.errors import DataError, Problem
from envoi.volumes import Grid, Subject, Volume

FAINTEST = 0.1
"""Of intensities 0..1, smoothed: where background ends if nobody has a brain to tell it."""
# Brains that were stripped of their skull have a smooth outline, and around the cortex a model
# leaves unrest where its people differ. In voxels, of a Gaussian: in people, too, the outline of
# what is bright after it is that of the brain, within a hundredth of its voxels.
_SMOOTH = 0.7
# Within the outline nothing is background: the least that files of 256 levels keep.
_DARKEST = 1 / 255


def faintest_of(subjects: Sequence[Subject]) -> float:
    """What as many smoothed voxels exceed as somebody's brain has; median of all.

    Args:
        subjects: Whom a model learns from; 0 outside their brains.
    """
    each = []
    for subject in subjects:
        voxels = subject.volume.voxels
        if count := np.count_nonzero(voxels):
            each.append(np.partition(_smoothed(voxels), -count, axis=None)[-count])
    return float(np.median(each)) if each else FAINTEST


def brain_mask(
    voxels: Float[NDArray[np.float32], "depth height width"], faintest: float | None
) -> Bool[NDArray[np.bool_], "depth height width"]:
    """The largest connected part that is not background, its holes filled."""
    bright = voxels > 0 if faintest is None else _smoothed(voxels) >= faintest
    parts, count = ndimage.label(bright)
    if not count:
        return np.zeros(voxels.shape, dtype=bool)
    sizes = np.bincount(parts.ravel())[1:]
    mask: NDArray[np.bool_] = ndimage.binary_fill_holes(parts == 1 + int(sizes.argmax()))
    return mask


def as_volume(
    voxels: Float[NDArray[np.float32], "depth height width"], grid: Grid, faintest: float | None
) -> Volume:
    """Intensities within 0..1, exactly 0 outside the brain and nowhere in it.

    Args:
        voxels: About 0..1, as a model drew them.
        grid: Where they lie.
        faintest: What is fainter, smoothed, is background; None where a model draws outlines and
            0 alone is background (`ModelCard.faintest`).

    Raises:
        DataError: There is no brain in them: a model that diverged, or has hardly learned.
    """
    mask = brain_mask(voxels, faintest)
    if not mask.any():
        remedy = "Train for longer, or with a lower rate."
        raise DataError(Problem("a brain", "nothing above the background", "volume", remedy))
    inside = np.where(mask, voxels.clip(_DARKEST, 1), 0).astype(np.float32)
    return Volume(inside, grid)


def completed(
    voxels: Float[NDArray[np.float32], "depth height width"],
    scan: Volume,
    known: Bool[NDArray[np.bool_], "depth height width"],
    faintest: float | None,
) -> Volume:
    """A drawn volume in the place of its scan, whose known voxels are kept as they are.

    Raises:
        DataError: There is no brain in the drawn volume.
    """
    drawn = as_volume(voxels, scan.grid, faintest)
    return drawn.with_voxels(np.where(known, scan.voxels, drawn.voxels))


def _smoothed(
    voxels: Float[NDArray[np.float32], "depth height width"],
) -> Float[NDArray[np.float32], "depth height width"]:
    within = voxels.clip(0, 1).astype(np.float32)
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(within, _SMOOTH, mode="constant")
    return smooth
