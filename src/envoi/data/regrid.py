"""Volumes brought to another grid: resampled, straightened, cropped and padded. Arithmetic only.

The brain is what lies above 0. Means are taken over the brain alone, so that its edge is not
darkened by what lies outside; a voxel that the brain covers by less than half is outside, exactly
0. The field of view keeps its lower corner when voxels change in size.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage

from envoi.errors import DataError, Problem
from envoi.volumes import Grid, Voxels

MOST_VOXELS = 512**3
_LEAST_COVERED = 0.5
_EQUAL = 1e-3
_FWHM = 2 * np.sqrt(2 * np.log(2))

Shape = tuple[int, int, int]


class Placed(NamedTuple):
    """Voxels and where they lie; intensities are those of the scan, from 0 on."""

    voxels: Voxels
    grid: Grid


def resampled(placed: Placed, spacing_mm: float) -> Placed:
    """The same field of view in cubic voxels of another size.

    Along an axis whose voxels become larger by a whole factor, the mean of each block; along any
    other, linear interpolation, its kernel widened by the factor where detail would alias.

    Raises:
        DataError: The result would have more than `MOST_VOXELS` voxels.
    """
    voxels, grid = placed
    factors = [spacing_mm / old for old in grid.spacing_mm]
    counts = [_count(old, factor) for old, factor in zip(grid.shape, factors, strict=True)]
    _check_size(counts)
    brain = (voxels > 0).astype(np.float32)
    for axis, (count, factor) in enumerate(zip(counts, factors, strict=True)):
        if abs(factor - 1) >= _EQUAL:
            weights = _weights(grid.shape[axis], count, factor)
            voxels, brain = (_along(axis, weights, array) for array in (voxels, brain))
    shift = [(factor - 1) / 2 * old for old, factor in zip(grid.spacing_mm, factors, strict=True)]
    new = Grid(voxels.shape, (spacing_mm,) * 3, _moved(grid, shift))
    return Placed(_within(voxels, brain), new)


def straightened(
    voxels: Float[NDArray[np.float32], "first second third"],
    affine: NDArray[np.float64],
    spacing_mm: float,
) -> Placed:
    """A tilted scan resampled by its affine to cubic voxels along the axes of the world.

    Linear interpolation, after a Gaussian that is as wide as the new voxels are larger.

    Args:
        voxels: In the axis order of the file.
        affine: From indices in that order to RAS+ millimetres.
        spacing_mm: Of the new grid, which holds the whole field of view.

    Raises:
        DataError: The result would have more than `MOST_VOXELS` voxels.
    """
    corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in voxels.shape])).reshape(3, -1)
    world = affine[:3, :3] @ corners + affine[:3, 3:]
    low, high = world.min(axis=1), world.max(axis=1)
    counts = [int(count) for count in np.ceil((high - low) / spacing_mm - _EQUAL)]
    _check_size(counts)
    origin = low + spacing_mm / 2
    inverse = np.linalg.inv(affine)
    offset = inverse[:3, :3] @ origin + inverse[:3, 3]
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    sigma = np.sqrt(np.maximum((spacing_mm / sizes) ** 2 - 1, 0)) / _FWHM

    def moved(array: NDArray[np.float32]) -> Voxels:
        smooth = ndimage.gaussian_filter(array, sigma, mode="constant")
        turned: NDArray[np.float32] = ndimage.affine_transform(
            smooth, spacing_mm * inverse[:3, :3], offset, tuple(counts), order=1
        )
        return turned.T

    brain = (voxels > 0).astype(np.float32)
    right, anterior, superior = (float(value) for value in origin)
    shape = (counts[2], counts[1], counts[0])
    grid = Grid(shape, (spacing_mm,) * 3, (right, anterior, superior))
    return Placed(_within(moved(voxels), moved(brain)), grid)


def fitted(placed: Placed, shape: Shape, *, where: str) -> Placed:
    """Cropped and padded to `shape` around the middle of the brain's bounding box.

    Raises:
        DataError: The brain is larger than `shape`: it would be cut.
    """
    voxels, grid = placed
    box = ndimage.find_objects((voxels > 0).astype(np.int8))[0]
    sizes = tuple(side.stop - side.start for side in box)
    if any(size > wanted for size, wanted in zip(sizes, shape, strict=True)):
        expected = f"a brain of at most {_by(shape)} voxels"
        remedy = "Choose a larger --shape or --spacing-mm (in Python, shape and spacing_mm)."
        raise DataError(Problem(expected, f"one of {_by(sizes)}", where, remedy))
    start = [(s.start + s.stop - wanted) // 2 for s, wanted in zip(box, shape, strict=True)]
    fitted = np.zeros(shape, np.float32)
    target = tuple(
        slice(side.start - first, side.stop - first) for side, first in zip(box, start, strict=True)
    )
    fitted[target] = voxels[box]
    shift = [first * size for first, size in zip(start, grid.spacing_mm, strict=True)]
    return Placed(fitted, Grid(shape, grid.spacing_mm, _moved(grid, shift)))


def _weights(old: int, new: int, factor: float) -> Float[NDArray[np.float32], "new old"]:
    """What each old voxel gives to each new one, along one axis."""
    centres = (np.arange(new) + 0.5) * factor - 0.5
    distance = np.abs(np.arange(old) - centres[:, None])
    if factor > 1 and abs(factor - round(factor)) < _EQUAL:
        return ((distance < factor / 2) / factor).astype(np.float32)
    reach = max(1.0, factor)
    return (np.maximum(0, 1 - distance / reach) / reach).astype(np.float32)


def _along(
    axis: int, weights: Float[NDArray[np.float32], "new old"], array: NDArray[np.float32]
) -> NDArray[np.float32]:
    return np.moveaxis(np.tensordot(weights, array, (1, axis)), 0, axis)


def _within(voxels: Voxels, brain: Voxels) -> Voxels:
    """Means over the brain alone, where it covers enough; 0 elsewhere."""
    covered = brain >= _LEAST_COVERED
    return np.divide(voxels, brain, out=np.zeros_like(voxels), where=covered)


def _moved(grid: Grid, shift_mm: list[float]) -> tuple[float, float, float]:
    """The origin after a shift along depth, height and width."""
    (right, anterior, superior), (depth, height, width) = grid.origin_mm, shift_mm
    return (right + width, anterior + height, superior + depth)


def _count(old: int, factor: float) -> int:
    return int(np.ceil(old / factor - _EQUAL))


def _check_size(counts: list[int]) -> None:
    if np.prod([float(count) for count in counts]) > MOST_VOXELS:
        expected = f"a grid of at most {MOST_VOXELS} voxels"
        remedy = "Choose a larger --spacing-mm (in Python, spacing_mm)."
        raise DataError(Problem(expected, _by(counts), "resampled volume", remedy))


def _by(sizes: tuple[int, ...] | list[int]) -> str:
    return " x ".join(str(size) for size in sizes)
