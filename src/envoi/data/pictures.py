"""Image files to arrays: exactly what is asked for, or a refusal.

Nothing is guessed. A picture of another size, colour, depth or orientation is refused with the
option that permits the change, if one does; no pixel is repeated, resampled or turned silently.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from envoi.errors import DataError, Problem, SettingsError
from envoi.types import ImageSpec

Fit = Literal["exact", "resize", "crop"]

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
MOST_PIXELS = 100_000_000
"""A larger picture is refused unread: it may be a decompression bomb."""

_FORMATS = ("BMP", "JPEG", "PNG", "TIFF")
_ORIENTATION = 0x0112
_DEEP = ("I", "F")
_COLOUR_SPACES = ("CMYK", "YCbCr", "LAB", "HSV")
# Pillow's plugins raise all of these of damaged files.
_UNREADABLE = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a reader may do to a picture; by default nothing.

    Attributes:
        fit: `exact` takes pictures of the study's size only; `resize` squeezes the whole picture
            to it, changing its proportions; `crop` scales the shorter side to it and keeps the
            middle. Both resample with an antialiased bicubic filter.
        allow_channel_conversion: Take grey pictures as colour and colour as grey (ITU-R 601
            luma), look palettes up, and drop an alpha channel that is opaque everywhere.
    """

    fit: Fit = "exact"
    allow_channel_conversion: bool = False

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            expected = f"one of {', '.join(get_args(Fit))}"
            raise SettingsError(
                Problem(expected, repr(self.fit)[:40], "fit", "Choose one of them.")
            )


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file, and how messages call it: by its place in the set, never by its name."""

    path: Path
    where: str


def read_pictures(
    files: Sequence[PictureFile], *, spec: ImageSpec, reading: Reading
) -> tuple[UInt8[NDArray[np.uint8], "image channel size size"], list[Problem]]:
    """All pictures in one array, and all that is wrong with them; either may be relied on alone.

    Memory: `image * channel * size * size` bytes and one decoded picture. Each file is opened
    once; the pixels of a refused one are left undefined.

    Args:
        files: In the order of the result.
        spec: Channels and size that the pictures must have.
        reading: What may be done to them.
    """
    images = np.empty((len(files), spec.channels, spec.size_px, spec.size_px), np.uint8)
    problems: list[Problem] = []
    with warnings.catch_warnings():
        # Pillow warns of odd metadata, which is not read here; its limits are checked below.
        warnings.simplefilter("ignore")
        for target, file in zip(images, files, strict=True):
            problems += _read_into(target, file, spec, reading)
    return images, problems


def whole_picture(file: Path | io.BytesIO, where: str) -> Image.Image:
    """A picture of any size as it is stored, 8-bit grey (`L`) or colour (`RGB`).

    Args:
        file: PNG, JPEG, TIFF or BMP.
        where: What messages call it.

    Raises:
        DataError: It is damaged, or of a kind that would have to be converted.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, as above
            with Image.open(file, formats=_FORMATS) as picture:
                objections = list(_objections_to_file(picture))
                objections = objections or list(_objections_to_kind(picture))
                if not objections:
                    return picture.copy()
    except Image.DecompressionBombError:
        objections = [(*_too_large(), _TOO_LARGE_REMEDY)]
    except _UNREADABLE:
        # The cause is dropped: it names the file, and a name may identify a patient.
        objections = [(_WHOLE_FILE, "another", _DAMAGED_REMEDY)]
    raise DataError(*(Problem(said, found, where, remedy) for said, found, remedy in objections))


def fitted(picture: Image.Image, size_px: int, fit: Fit) -> Image.Image:
    """Exactly `size_px` square; a picture of that size is never resampled.

    `crop` scales the shorter side and keeps the middle; other fits squeeze the whole picture.
    """
    size = (size_px, size_px)
    if picture.size == size:
        return picture
    if fit == "crop":
        return ImageOps.fit(picture, size, method=Image.Resampling.BICUBIC)
    return picture.resize(size, Image.Resampling.BICUBIC)


def _read_into(
    target: NDArray[np.uint8], file: PictureFile, spec: ImageSpec, reading: Reading
) -> list[Problem]:
    """Fill `target`, or say why not."""
    try:
        with Image.open(file.path, formats=_FORMATS) as picture:
            problems = [
                Problem(expected, found, file.where, remedy)
                for expected, found, remedy in _objections(picture, spec, reading)
            ]
            if problems:
                return problems
            chosen = fitted(_converted(picture, spec.channels), spec.size_px, reading.fit)
            pixels = np.asarray(chosen, np.uint8)
    except Image.DecompressionBombError:
        return [Problem(*_too_large(), where=file.where, remedy=_TOO_LARGE_REMEDY)]
    except FileNotFoundError:
        remedy = "Correct the path, or give the file."
        return [Problem("a file", "nothing", file.where, remedy)]
    except _UNREADABLE:
        return [Problem(_WHOLE_FILE, "another", file.where, _DAMAGED_REMEDY)]
    target[:] = pixels.reshape(spec.size_px, spec.size_px, spec.channels).transpose(2, 0, 1)
    return []


_EIGHT_BITS = "8 bits a channel"
_WHOLE_FILE = "a whole PNG, JPEG, TIFF or BMP file"
_DAMAGED_REMEDY = "Export the picture again; it is damaged or of another kind."
_TOO_LARGE_REMEDY = "Scale the picture down before it is read; no option permits this."


def _too_large(found: str = "far more") -> tuple[str, str]:
    return f"at most {MOST_PIXELS} pixels", found


def _objections(
    picture: ImageFile, spec: ImageSpec, reading: Reading
) -> Iterator[tuple[str, str, str]]:
    """What is expected, found and to be done, read from the header and a glance at the pixels."""
    faults = list(_objections_to_file(picture))
    yield from faults
    width, height = picture.size
    if width * height > MOST_PIXELS:
        return
    if (width, height) != (spec.size_px, spec.size_px) and reading.fit == "exact":
        remedy = (
            "Resample them yourself, or permit it with --fit resize or --fit crop (in Python: "
            "fit='resize' or fit='crop')."
        )
        yield f"{spec.size_px} x {spec.size_px} pixels", f"{width} x {height}", remedy
    if not any(expected == _EIGHT_BITS for expected, _, _ in faults):
        yield from _colour_objections(picture, spec.channels, reading)


def _objections_to_file(picture: ImageFile) -> Iterator[tuple[str, str, str]]:
    """What no reader takes, whatever the study asks for."""
    width, height = picture.size
    # Before anything decodes: Pillow opens 16-bit colour as 8-bit, silently, and only the name
    # of the decoder betrays it.
    deep = any(";16" in str(tile.args) for tile in picture.tile)
    if width * height > MOST_PIXELS:
        yield (*_too_large(f"{width} x {height}"), _TOO_LARGE_REMEDY)
        return
    if getattr(picture, "n_frames", 1) > 1:
        remedy = "Save the frame that is meant as a file of its own; no option chooses one."
        yield "a single picture", "an animation or several pages", remedy
    if picture.getexif().get(_ORIENTATION, 1) != 1:
        remedy = "Turn the pixels and remove the tag; no option does it."
        yield "pixels that lie as they are meant", "a tag that turns the picture", remedy
    if deep or picture.mode.split(";")[0] in _DEEP:
        remedy = "Convert to 8 bits with the intensity window that is meant; no option does it."
        yield _EIGHT_BITS, "more bits", remedy


def _objections_to_kind(picture: ImageFile) -> Iterator[tuple[str, str, str]]:
    """Of a picture that is to be taken without a conversion."""
    if picture.mode not in {"L", "RGB"} or _has_alpha(picture):
        remedy = "Save it as grey or RGB without an alpha channel; no option does it."
        yield "grey or RGB pixels", _kind_of(picture), remedy


def _colour_objections(
    picture: ImageFile, channels: int, reading: Reading
) -> Iterator[tuple[str, str, str]]:
    kind = "grey (1 channel)" if channels == 1 else "colour (3 channels)"
    if picture.mode in _COLOUR_SPACES:
        remedy = "Save it as RGB with its colour profile applied; no option does it."
        yield kind, f"the colour space {picture.mode}", remedy
    elif picture.mode != ("L" if channels == 1 else "RGB") or _has_alpha(picture):
        if not reading.allow_channel_conversion:
            remedy = (
                "Convert it yourself, or permit it with --allow-channel-conversion (in Python: "
                "allow_channel_conversion=True)."
            )
            yield kind, _kind_of(picture), remedy
        elif _has_alpha(picture) and _is_transparent(picture):
            remedy = "Lay the picture on the ground that is meant; no option chooses one."
            yield "opaque pixels", "transparent ones", remedy


def _converted(picture: Image.Image, channels: int) -> Image.Image:
    """To grey or colour; palettes go through colour, so that their entries are looked up."""
    if picture.mode in {"P", "PA"}:
        picture = picture.convert("RGB")
    return picture.convert("L" if channels == 1 else "RGB")


def _has_alpha(picture: Image.Image) -> bool:
    return picture.has_transparency_data


def _is_transparent(picture: Image.Image) -> bool:
    lowest, _ = picture.convert("RGBA").getchannel("A").getextrema()
    return float(lowest) < 255  # type: ignore[arg-type]


def _kind_of(picture: Image.Image) -> str:
    names = {"1": "black and white", "L": "grey", "RGB": "colour", "P": "a palette"}
    if _has_alpha(picture):
        return "an alpha channel"
    return names.get(picture.mode, f"mode {picture.mode}")
