"""What a NIfTI header must say before any voxel is read: three dimensions, and where they lie."""

from collections.abc import Iterator

import numpy as np
from nibabel.nifti1 import Nifti1Image
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray

from envoi.data.regrid import MOST_VOXELS
from envoi.errors import Problem

# As a share of a voxel's length: 0.06 degrees, or 0.1 mm at the edge of a brain.
_TILT = 1e-3
_UNITS = {"mm", "unknown"}


def problems_of_header(
    image: Nifti1Image, *, reorient: bool, straighten: bool, where: str
) -> Iterator[Problem]:
    """All that keeps a file from being read.

    Args:
        image: Its voxels are not touched.
        reorient: Whether axes may be flipped and swapped.
        straighten: Whether a tilted scan may be resampled.
        where: What messages call the file.
    """
    yield from _problems_of_array(image, where)
    sform, qform = (int(image.header[name]) for name in ("sform_code", "qform_code"))
    if sform == 0 and qform == 0:
        found = "none (sform_code and qform_code are 0)"
        remedy = "Export the scan with its orientation; without it, left and right are a guess."
        yield Problem("an affine", found, where, remedy)
        return
    if not is_regular(image.affine):
        remedy = "Export the scan again: its voxels have no size or no place."
        yield Problem("an affine that places voxels", "one that does not", where, remedy)
        return
    yield from _problems_of_orientation(
        image.affine, reorient=reorient, straighten=straighten, where=where
    )


def is_regular(affine: NDArray[np.float64]) -> bool:
    """Whether an affine is of finite numbers and can be inverted."""
    finite = bool(np.isfinite(affine).all())
    return finite and abs(float(np.linalg.det(affine[:3, :3]))) > 1e-9


def is_tilted(affine: NDArray[np.float64]) -> bool:
    """Whether the axes of the file are not those of the world, in any order or direction."""
    shares = np.abs(affine[:3, :3]) / np.linalg.norm(affine[:3, :3], axis=0)
    return bool((np.sort(shares, axis=0)[:2] > _TILT).any())


def is_canonical(affine: NDArray[np.float64]) -> bool:
    """Whether the axes of the file run right, anterior, superior."""
    return not is_tilted(affine) and aff2axcodes(affine) == ("R", "A", "S")


def _problems_of_array(image: Nifti1Image, where: str) -> Iterator[Problem]:
    shape, kind = image.shape, image.get_data_dtype()
    if len(shape) != 3:
        if len(shape) < 3:
            remedy = "Give the whole volume; this is a slice of one."
        elif set(shape[3:]) == {1}:
            remedy = "It is one volume: save it with 3 dimensions (nibabel.squeeze_image does)."
        else:
            remedy = "Save one volume of it as a file of its own."
        yield Problem("3 dimensions", f"{len(shape)}", where, remedy)
    elif not 0 < np.prod([float(size) for size in shape]) <= MOST_VOXELS:
        remedy = "Resample the scan before."
        found = " x ".join(str(size) for size in shape)
        yield Problem(f"1 to {MOST_VOXELS} voxels", found, where, remedy)
    if kind.names is not None or kind.kind not in "iuf":
        remedy = "Export the scan as numbers of one channel, not as a picture."
        yield Problem("one number for each voxel", "colours or complex numbers", where, remedy)
    unit = image.header.get_xyzt_units()[0]
    if unit not in _UNITS:
        yield Problem("millimetres", f"{unit}", where, "Export the scan in millimetres.")


def _problems_of_orientation(
    affine: NDArray[np.float64], *, reorient: bool, straighten: bool, where: str
) -> Iterator[Problem]:
    if is_tilted(affine):
        if not straighten:
            remedy = (
                "--reorient together with --spacing-mm permits it "
                "(in Python, reorient=True and spacing_mm)."
            )
            expected = "axes along right, anterior and superior"
            yield Problem(expected, "a tilted scan", where, remedy)
    elif not is_canonical(affine) and not reorient:
        found = "".join(str(code) for code in aff2axcodes(affine))
        remedy = "--reorient permits it (in Python, reorient=True)."
        yield Problem("RAS orientation", found, where, remedy)
