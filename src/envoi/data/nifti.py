"""Read brains from NIfTI files and write made ones: nothing is turned or resampled unasked.

The sform gives the affine where it is set, else the qform, as the format says. Files are found
out by what they hold (`envoi.data.headers` and `envoi.data.skulls` have the rules); a message
never names a file, since its name may tell who the patient is.
"""

import gzip
import logging
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import logger
from nibabel.nifti1 import Nifti1Image
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from envoi import __version__
from envoi.data.findings import refuse
from envoi.data.headers import is_canonical, is_tilted, problems_of_header
from envoi.data.regrid import Placed, Shape, fitted, resampled, straightened
from envoi.data.skulls import problems_of_voxels
from envoi.errors import DataError, EnvoiWarning, Problem, SettingsError, StorageError
from envoi.files import read_json, write_bytes, write_json
from envoi.volumes import Grid, Volume, normalised

ENDINGS = (".nii", ".nii.gz")

Stored = Literal["float32", "uint8"]

_MARKS = _WHOLLY, _PARTLY = "Synthetic", "Partly synthetic"
_BY = ", made by Envoi "

_BROKEN = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)
_ALIGNED = 2  # the format's code of coordinates that are aligned to something else
_MIB = 2**20
_ROUNDING = 1e-6  # what scales, which files hold in fp32, may add to an intensity of 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePermissions:
    """What may be done to a scan that is not as it should be; by default nothing.

    Attributes:
        reorient: Flip and swap axes to RAS+. A tilted scan is resampled by its affine, which
            needs `spacing_mm` too.
        spacing_mm: Resample to cubic voxels of this size (`envoi.data.regrid.resampled`).
        shape: Crop and pad to depth x height x width around the middle of the brain.
        allow_skull: Take a head whose skull was not removed.

    Raises:
        SettingsError: The spacing or the shape is not of positive numbers.
    """

    reorient: bool = False
    spacing_mm: float | None = None
    shape: Shape | None = None
    allow_skull: bool = False

    def __post_init__(self) -> None:
        if self.spacing_mm is not None and not 0 < self.spacing_mm < np.inf:
            remedy = "Give the size of a voxel, such as 2."
            found = repr(self.spacing_mm)
            raise SettingsError(Problem("millimetres above 0", found, "spacing_mm", remedy))
        if self.shape is not None and not (len(self.shape) == 3 and min(self.shape) > 0):
            remedy = "Give depth x height x width, such as 48x56x48."
            found = repr(self.shape)[:80]
            raise SettingsError(Problem("three numbers above 0", found, "shape", remedy))


def read_nifti(
    path: Path,
    permissions: VolumePermissions | None = None,
    *,
    where: str = "NIfTI file",
    normalise: bool = True,
) -> Volume:
    """The brain in a file, RAS+, intensities over their 99.5th percentile clipped to 0..1.

    Args:
        path: Ends in .nii or .nii.gz.
        permissions: None permits nothing.
        where: What messages call the file.
        normalise: False leaves intensities as they are, from 0 to 1: how bright a made volume is
            is its model's doing, and is to be judged.

    Raises:
        StorageError: The file is missing.
        DataError: The file is broken, the scan needs what is not permitted, or intensities that
            are to be left are not within 0..1.
    """
    permissions = permissions or VolumePermissions()
    image, voxels = _loaded(path, permissions, where)
    allow_skull = permissions.allow_skull
    refuse(problems_of_voxels(voxels, image.affine, allow_skull=allow_skull, where=where))
    if not normalise:
        _check_range(voxels, where)
    placed = _placed(np.maximum(voxels, 0), image.affine, permissions)
    if not placed.voxels.any():
        remedy = (
            "Choose a smaller --spacing-mm (in Python, spacing_mm), or correct the header if its "
            "millimetres are wrong."
        )
        found = "voxels so large that none is half filled"
        raise DataError(Problem("a brain of several voxels", found, where, remedy))
    if permissions.shape is not None:
        placed = fitted(placed, permissions.shape, where=where)
    scaled = normalised(placed.voxels) if normalise else placed.voxels.clip(0, 1)
    return Volume(scaled, placed.grid)


def write_nifti(
    volume: Volume,
    path: Path,
    sidecar: Mapping[str, Any] | None = None,
    *,
    stored_as: Stored = "float32",
) -> None:
    """Write a volume with its affine; with a sidecar, mark it as synthetic.

    The mark stands in a JSON file of the same name and in the header itself, in case the two are
    parted. Equal volumes become equal bytes.

    Args:
        volume: Intensities from 0 to 1.
        path: Ends in .nii or .nii.gz.
        sidecar: What made the volume: model, seed, settings. `Synthetic` and `GeneratedBy` are
            added. None writes no mark: the volume is a real one. `PartlyReal` is told by the
            header, too.
        stored_as: `uint8` keeps 256 levels, with the scale that leads back to 0..1.

    Raises:
        SettingsError: The path has another ending.
        StorageError: A file cannot be written.
    """
    sidecar_beside(path)  # refuses other endings before anything is written
    if sidecar is not None:
        maker = {"Name": "Envoi", "Version": __version__}
        # Before the volume, so that none is ever seen without its mark.
        marks = {**sidecar, "Synthetic": True, "GeneratedBy": [maker]}
        write_json(sidecar_beside(path), marks)
    partly = sidecar is not None and sidecar.get("PartlyReal") is True
    mark = "" if sidecar is None else _PARTLY if partly else _WHOLLY
    content = nifti_bytes(volume, stored_as=stored_as, mark=mark)
    packed = gzip.compress(content, compresslevel=6, mtime=0) if path.suffix == ".gz" else content
    write_bytes(path, packed)


def sidecar_beside(path: Path) -> Path:
    """The JSON file of a NIfTI file.

    Raises:
        SettingsError: The path has another ending.
    """
    return path.with_name(f"{stem_of(path)}.json")


def mark_of(path: Path) -> Mapping[str, Any]:
    """What is told of a volume that is marked as made; nothing of any other volume.

    The sidecar tells most. Without it the header still tells that, and whether the volume is
    partly real, which no sidecar takes back.

    Raises:
        StorageError: The sidecar is damaged.
    """
    sidecar, header = sidecar_beside(path), _header_mark(path)
    if not sidecar.exists():
        return header
    remedy = "Remove it with its volume, and make that again."
    told = read_json(sidecar, what="the sidecar of a volume", remedy=remedy)
    if told.get("Synthetic") is not True:
        return header
    return {**told, "PartlyReal": True} if header.get("PartlyReal") else told


def _header_mark(path: Path) -> dict[str, Any]:
    """What the header tells; nothing of a file that cannot be read."""
    try:
        with _quiet():
            image = nibabel.load(path)
    except _BROKEN:
        return {}
    if not isinstance(image, Nifti1Image):
        return {}
    words = bytes(image.header["descrip"].item())
    mark = next((mark for mark in _MARKS if words.startswith(f"{mark}{_BY}".encode())), None)
    return {} if mark is None else {"Synthetic": True, "PartlyReal": mark == _PARTLY}


def nifti_bytes(volume: Volume, *, stored_as: Stored = "float32", mark: str = "") -> bytes:
    """The file that holds a volume, not packed; equal volumes give equal bytes.

    Args:
        volume: Intensities from 0 to 1.
        stored_as: As `write_nifti` takes it.
        mark: How the header says that the volume was made; empty of a real one.
    """
    image = _image(volume, stored_as)
    if mark:
        image.header["descrip"] = f"{mark}{_BY}{__version__}".encode()
    content: bytes = image.to_bytes()
    return content


def stem_of(path: Path) -> str:
    """A file's name without .nii or .nii.gz.

    Raises:
        SettingsError: It has another ending.
    """
    for ending in ENDINGS:
        if path.name.endswith(ending):
            return path.name.removesuffix(ending)
    remedy = "Name a NIfTI file; pairs of .hdr and .img are not read or written."
    expected = f"a name ending in {' or '.join(ENDINGS)}"
    raise SettingsError(Problem(expected, f"one ending in {path.suffix!r}", "NIfTI file", remedy))


def _loaded(
    path: Path, permissions: VolumePermissions, where: str
) -> tuple[Nifti1Image, NDArray[np.float32]]:
    """The file, once its header is in order, and its voxels with its scale applied."""
    stem_of(path)
    if not path.is_file():
        remedy = "Check the path."
        raise StorageError(Problem("a NIfTI file", "nothing", where, remedy))
    try:
        with _remarks(where):
            image = nibabel.load(path, mmap=False)
            if not isinstance(image, Nifti1Image):
                raise _broken(where)
            straighten = permissions.reorient and permissions.spacing_mm is not None
            refuse(
                problems_of_header(
                    image, reorient=permissions.reorient, straighten=straighten, where=where
                )
            )
            voxels = image.get_fdata(dtype=np.float32, caching="unchanged")
            if path.suffix == ".gz":
                _read_to_the_end(path, voxels.size * image.get_data_dtype().itemsize)
            return image, voxels
    except DataError:
        raise
    except PermissionError:
        remedy = "Change its permissions, or ask who may."
        raise DataError(
            Problem("a file that may be read", "no permission", where, remedy)
        ) from None
    except _BROKEN:
        # The cause is dropped: it names the file.
        raise _broken(where) from None


def _read_to_the_end(path: Path, size: int) -> None:
    """Where the checksum is, which nibabel does not reach; no farther than voxels explain."""
    with gzip.open(path) as file:
        for _ in range(size // _MIB + 3):
            if not file.read(_MIB):
                return


@contextmanager
def _remarks(where: str) -> Iterator[None]:
    """Turn remarks of nibabel on a header into warnings of Envoi; drop those on its arithmetic.

    What overflows is not finite, and such voxels are refused.
    """
    with _quiet() as heard:
        yield
    for remark in heard:
        warnings.warn(f"{where}: the header is odd ({remark}).", EnvoiWarning, stacklevel=3)


@contextmanager
def _quiet() -> Iterator[dict[str, None]]:
    """Keep what nibabel remarks from the terminal; each remark is told once."""
    heard: dict[str, None] = {}

    def hear(record: logging.LogRecord) -> bool:
        heard[record.getMessage()] = None
        return False

    logger.addFilter(hear)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield heard
    finally:
        logger.removeFilter(hear)


def _placed(
    voxels: NDArray[np.float32], affine: NDArray[np.float64], permissions: VolumePermissions
) -> Placed:
    """On a grid along the axes of the world, of the spacing that was asked for."""
    spacing_mm = permissions.spacing_mm
    if is_tilted(affine) and spacing_mm is not None:
        return straightened(voxels, affine, spacing_mm)
    if not is_canonical(affine):
        turned = nibabel.as_closest_canonical(Nifti1Image(voxels, affine))
        voxels, affine = np.asarray(turned.dataobj, np.float32), turned.affine
    depth, height, width = (float(size) for size in np.diag(affine)[2::-1])
    right, anterior, superior = (float(value) for value in affine[:3, 3])
    ours = np.ascontiguousarray(voxels.T)
    placed = Placed(ours, Grid(ours.shape, (depth, height, width), (right, anterior, superior)))
    return placed if spacing_mm is None else resampled(placed, spacing_mm)


def _check_range(voxels: NDArray[np.float32], where: str) -> None:
    low, high = float(voxels.min()), float(voxels.max())
    if low < 0 or high > 1 + _ROUNDING:
        remedy = (
            "Name the files that `envoi mri sample` wrote; bring those of another maker to the "
            "range of training: 0 outside the brain, 1 at the 99.5th percentile, clipped."
        )
        expected, found = "a made volume's intensities, 0 to 1", f"{low:g} to {high:g}"
        raise DataError(Problem(expected, found, where, remedy))


def _image(volume: Volume, stored_as: Stored) -> Nifti1Image:
    voxels = volume.voxels.T
    levels = np.rint(255 * voxels).astype(np.uint8) if stored_as == "uint8" else voxels
    image = Nifti1Image(levels, volume.grid.affine)
    if stored_as == "uint8":
        image.header.set_slope_inter(1 / 255, 0)
    image.set_sform(volume.grid.affine, _ALIGNED)
    image.set_qform(volume.grid.affine, _ALIGNED)
    image.header.set_xyzt_units("mm")
    return image


def _broken(where: str) -> DataError:
    remedy = "Export the scan again; the file is damaged or of another format."
    return DataError(Problem("a whole NIfTI file", "one that cannot be read", where, remedy))
