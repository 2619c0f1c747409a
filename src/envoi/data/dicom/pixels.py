"""One frame of a DICOM file as an 8-bit picture: every step that its header asks for, in order.

Stored values, modality rescale or table, window or VOI table, grey from black to white, inverted
where 0 is white (MONOCHROME1); padding is black in the end. Palettes are looked up, YBR
becomes RGB. By PS3.3, C.11.1 and C.11.2; tables and windows are pydicom's.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi,
    apply_windowing,
)

from envoi.data.dicom.decoding import decoded
from envoi.data.dicom.header import GREY, of_frame
from envoi.data.dicom.orientation import letters, turning
from envoi.data.dicom.padding import padding
from envoi.data.dicom.polarity import is_inverted, problems_of_polarity
from envoi.data.dicom.quiet import quietly
from envoi.data.dicom.reading import DicomReading
from envoi.data.dicom.window import function_of, numbers, problems_of_window
from envoi.data.findings import refuse
from envoi.errors import DataError, Problem

Grey = Float[NDArray[np.float64], "row column"]
Range = tuple[float, float]
_VOI_BITS = (8, *range(10, 17))  # PS3.3, C.8.11.3.1.5


def frame_picture(file: Dataset, frame: int, reading: DicomReading, where: str) -> Image.Image:
    """A frame as grey (`L`) or colour (`RGB`), turned as `reading` says.

    Args:
        file: With its pixels.
        frame: Its index.
        reading: What may be done.
        where: What messages call the file.

    Raises:
        DataError: There are no pixels, they cannot be decoded, or nothing says how to show them.
    """
    stored = decoded(file, frame, where)
    try:
        with quietly():
            pixels = _pixels(stored, of_frame(file, frame), reading, where)
    except DataError:
        raise
    except Exception:  # noqa: BLE001  (values raise whatever their bytes lead to, and quote them)
        remedy = "Export the file again: its window, tables or scale are damaged."
        expected = "a header that says how to show its pixels"
        raise DataError(Problem(expected, "another", where, remedy)) from None
    return Image.fromarray(np.ascontiguousarray(pixels))


def _pixels(
    stored: NDArray[np.generic], file: Dataset, reading: DicomReading, where: str
) -> NDArray[np.uint8]:
    """Grey `(row, column)` or colour `(row, column, 3)`."""
    if file.PhotometricInterpretation in GREY:
        refuse(problems_of_polarity(file, reading, where))
        rescaled, padded = _rescaled(stored, file, where), padding(stored, file)
        values, (low, high) = _shown(rescaled, ~padded, file, reading, where)
        levels = 255 * np.clip((values - low) / max(high - low, 1e-12), 0, 1)
        pixels = np.round(255 - levels if is_inverted(file, reading) else levels).astype(np.uint8)
        pixels[padded] = 0
    else:
        pixels = _colours(stored, file)
    lying = letters(file) if reading.orientation == "standard" else None
    return pixels if lying is None else turning(lying)(pixels)


def opened(path: Path, where: str) -> Dataset:
    """A whole file.

    Raises:
        DataError: It is not DICOM, or damaged.
    """
    try:
        with quietly():
            return dcmread(path)
    except Exception:  # noqa: BLE001  (damaged files raise whatever their bytes lead to)
        remedy = "Export the file again; it is damaged or of another kind."
        raise DataError(Problem("a DICOM file", "another", where, remedy)) from None


def _rescaled(stored: NDArray[np.generic], file: Dataset, where: str) -> Grey:
    if stored.ndim != 2:
        remedy = "Export the file again."
        raise DataError(Problem("one value a pixel", "several", where, remedy))
    if ("RescaleSlope" in file) != ("RescaleIntercept" in file):
        remedy = "Export the file again: it has one of RescaleSlope and RescaleIntercept."
        raise DataError(Problem("both numbers of a rescale, or none", "one", where, remedy))
    values = apply_modality_lut(stored, file).astype(np.float64)
    if not np.isfinite(values).all() or file.get("RescaleSlope") == 0:
        raise ValueError
    return values


def _shown(
    values: Grey, seen: NDArray[np.bool_], file: Dataset, reading: DicomReading, where: str
) -> tuple[Grey, Range]:
    """Values, and which of them are black and white; those that are not `seen` are padding."""
    whole = _whole_range(file)
    if reading.window == "content":
        if not seen.any():
            remedy = "Take the image out of the folder, or choose another --window."
            raise DataError(Problem("pixels beside the padding", "none", where, remedy))
        return values, (float(values[seen].min()), float(values[seen].max()))
    if reading.window == "stored":
        return values, whole
    if (told := reading.centre_and_width) is not None:
        return _windowed(values, *told, "LINEAR")
    return _as_file_says(values, file, whole, where)


def _windowed(values: Grey, centre: float, width: float, function: str) -> tuple[Grey, Range]:
    """By a window in the units of `values`; by itself, as pydicom takes negative slopes amiss."""
    window = Dataset()
    window.PhotometricInterpretation, window.PixelRepresentation = "MONOCHROME2", 0
    window.BitsStored, window.VOILUTFunction = 16, function
    window.WindowCenter, window.WindowWidth = centre, width
    with np.errstate(over="ignore"):  # far below a narrow sigmoid is black
        return apply_windowing(values, window), (0, 2**16 - 1)


def _as_file_says(values: Grey, file: Dataset, whole: Range, where: str) -> tuple[Grey, Range]:
    """By the one window or VOI table of a file; 8 bits without either are taken whole."""
    refuse(problems_of_window(file, where))
    if tables := file.get("VOILUTSequence"):
        return _looked_up(values, tables[0], file)
    if centres := numbers(file, "WindowCenter"):
        return _windowed(values, centres[0], numbers(file, "WindowWidth")[0], function_of(file))
    return values, whole


def _looked_up(values: Grey, table: Dataset, file: Dataset) -> tuple[Grey, Range]:
    """By a VOI table (PS3.3, C.11.2.1.1)."""
    entries, first, bits = table.LUTDescriptor
    if bits not in _VOI_BITS:
        raise ValueError
    # pydicom counts entries in as many bits as an entry has: 4096 entries of 8 bits need more.
    wide, told = Dataset(), Dataset()
    wide["LUTData"] = table["LUTData"]
    wide.add_new("LUTDescriptor", table["LUTDescriptor"].VR, [entries, first, 16])
    told.file_meta, told.VOILUTSequence = file.file_meta, [wide]
    inside = np.clip(values, first, first + 2**16 - 1).astype(np.int64)
    return apply_voi(inside, told).astype(np.float64), (0, 2**bits - 1)


def _whole_range(file: Dataset) -> Range:
    """What values can be after rescaling, from black to white."""
    table = file.get("ModalityLUTSequence")
    if table:
        return 0, 2 ** table[0].LUTDescriptor[2] - 1
    low = -(2 ** (file.BitsStored - 1)) if file.PixelRepresentation else 0
    ends = np.array([low, low + 2**file.BitsStored - 1], np.float64)
    slope, intercept = file.get("RescaleSlope"), file.get("RescaleIntercept")
    if slope is not None and intercept is not None:
        ends = ends * float(slope) + float(intercept)
    return float(ends.min()), float(ends.max())


def _colours(stored: NDArray[np.generic], file: Dataset) -> NDArray[np.uint8]:
    """Red, green, blue, from 0 to 255."""
    if file.PhotometricInterpretation == "PALETTE COLOR":
        looked_up = apply_color_lut(stored, file)[..., :3]
        deep = looked_up.dtype.itemsize > 1
        return (looked_up >> 8 if deep else looked_up).astype(np.uint8)
    shift = max(0, int(file.BitsStored) - 8)
    return (stored.astype(np.int64) >> shift).astype(np.uint8)
