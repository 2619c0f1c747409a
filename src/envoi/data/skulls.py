"""Whether voxels are those of a brain alone: the rules by which a skull is found out.

A skull-stripped volume is exactly 0 outside of the brain. So each face of its box is nearly all
zeros (a neck or noise in the air is not), the whole box is so by a quarter (an ellipsoid leaves
half of its bounding box empty), and what is left is not larger than a brain can be: with all its
fluid, hardly one of 2 litres, where a head has 3.5 and more.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from envoi.errors import Problem

# Share of voxels below 0 that a resampler's ringing may leave.
LARGEST_NEGATIVE = 0.01
LEAST_EMPTY_FACE = 0.8
LEAST_EMPTY_BOX = 0.25
LARGEST_BRAIN_ML = 2500

Scan = Float[NDArray[np.float32], "first second third"]


def problems_of_voxels(
    voxels: Scan, affine: NDArray[np.float64], *, allow_skull: bool, where: str
) -> Iterator[Problem]:
    """All that keeps voxels from being those of one brain, in any axis order."""
    broken = int(np.count_nonzero(~np.isfinite(voxels)))
    if broken:
        remedy = "Export the scan again, with 0 outside of the brain."
        yield Problem("finite voxels", f"{broken} that are NaN or infinite", where, remedy)
        return
    low, high = float(voxels.min()), float(voxels.max())
    if high <= 0 or low == high:
        found = f"{low:g} alone" if low == high else f"{low:g} to {high:g}"
        remedy = "Check that the file holds a scan; tissue must be above 0."
        yield Problem("voxels above 0 that differ", found, where, remedy)
    elif not ((voxels != low) & (voxels != high)).any():
        remedy = "Give the scan itself, and not the mask of its brain."
        yield Problem("intensities of a scan", "two values alone, as of a mask", where, remedy)
    elif np.count_nonzero(voxels < 0) > LARGEST_NEGATIVE * np.count_nonzero(voxels):
        remedy = "Give the scan as it was before its intensities were standardised."
        yield Problem(
            "intensities from 0 on, 0 outside of the brain", "many below 0", where, remedy
        )
    elif not allow_skull and (found := signs_of_a_skull(voxels, affine)):
        remedy = (
            "Remove the skull first (HD-BET and SynthStrip do), "
            "or give --allow-skull (in Python, allow_skull=True)."
        )
        yield Problem("a brain without skull, 0 outside of it", found, where, remedy)


def signs_of_a_skull(voxels: Scan, affine: NDArray[np.float64]) -> str:
    """What tells that this is no stripped brain, or nothing."""
    empty = voxels == 0
    faces = [empty.take(end, axis) for axis in range(3) for end in (0, -1)]
    face = min(float(side.mean()) for side in faces)
    if face < LEAST_EMPTY_FACE:
        return f"a face of the box with {100 * (1 - face):.0f} % of its voxels not 0"
    share = float(empty.mean())
    if share < LEAST_EMPTY_BOX:
        return f"{100 * (1 - share):.0f} % of all voxels not 0"
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    filled_ml = voxel_ml * float(np.count_nonzero(~empty))
    return f"{filled_ml:.0f} ml that are not 0" if filled_ml > LARGEST_BRAIN_ML else ""
