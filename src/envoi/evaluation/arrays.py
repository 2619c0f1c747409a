"""Sets of volumes as arrays: what is required of them, and coarser versions.

Arrays are `(volume, depth, height, width)`, float32 from 0 to 1 and exactly 0 outside the brain.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from envoi.errors import DataError, Problem, ShapeError

# Names that start with a line differ from array to array, so that two sets fit one annotation.
Volumes = Float[NDArray[np.float32], "_volume _depth _height _width"]
Brain = Bool[NDArray[np.bool_], "_volume _depth _height _width"]
Rows = Float[NDArray[np.floating], "_row feature"]
Square = Float[NDArray[np.float64], "_row _column"]

SMALLEST_VOXELS = 16
LARGEST_COMPARED = 64


def check_volumes(volumes: Volumes, where: str, *, least: int) -> None:
    """Require enough volumes that can be compared.

    Args:
        volumes: The set.
        where: Its name, for the message.
        least: Fewest volumes that will do.

    Raises:
        ShapeError: There are fewer, or a side is shorter than 16 voxels.
        DataError: A voxel is not within 0..1, or a volume is empty.
    """
    count, *sides = volumes.shape
    if count < least or min(sides) < SMALLEST_VOXELS:
        raise ShapeError(
            Problem(
                f"at least {least} volumes of {SMALLEST_VOXELS} voxels a side",
                f"shape {volumes.shape}",
                where,
                "Give more volumes, or larger ones.",
            )
        )
    low, high = float(volumes.min()), float(volumes.max())
    if not 0 <= low <= high <= 1:  # NaN compares false
        raise DataError(
            Problem(
                "voxels from 0 to 1",
                f"{low:g} to {high:g}",
                where,
                "Scale the intensities first.",
            )
        )
    empty = np.flatnonzero(~volumes.any(axis=(1, 2, 3)))
    if empty.size:
        raise DataError(
            Problem(
                "a brain in each volume",
                f"{empty.size} of {count} volumes that are 0 everywhere, the first at {empty[0]}",
                where,
                "Leave them out, or mend what made them.",
            )
        )


def check_same_shape(volumes: Volumes, others: Volumes, where: str) -> None:
    """Require both sets to have one shape of volume.

    Raises:
        ShapeError: They differ.
    """
    if volumes.shape[1:] != others.shape[1:]:
        raise ShapeError(
            Problem(
                f"volumes of {others.shape[1:]} voxels, as the real ones",
                f"{volumes.shape[1:]}",
                where,
                "Bring all volumes to one grid first.",
            )
        )


def coarse_block(shape: tuple[int, ...]) -> int:
    """Side of the cubes by which no side of a volume is left with more than 64 voxels."""
    return -(-max(shape) // LARGEST_COMPARED)


def block_means(volumes: Volumes, block: int) -> Volumes:
    """Means of `block`-sided cubes; what does not fill a cube at the far end is left out."""
    count, *sides = volumes.shape
    depth, height, width = (side // block for side in sides)
    kept = volumes[:, : depth * block, : height * block, : width * block]
    cubes = kept.reshape(count, depth, block, height, block, width, block)
    means: Volumes = cubes.mean(axis=(2, 4, 6), dtype=np.float32)
    return means
