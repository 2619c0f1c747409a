"""The black around a fundus photograph, cut away by one fixed rule."""

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from envoi.errors import DataError, Problem

BRIGHT = 10
"""A pixel is bright if a channel of it is above this, of 255; JPEG's noise in black is below."""
SHARE = 0.01
"""A row or column at the border is cut away if a smaller share of its pixels is bright."""


def without_borders(picture: Image.Image, where: str) -> Image.Image:
    """A picture from its first to its last row and column of which 1 in 100 pixels is bright.

    Nothing inside is cut, and no pixel is changed.

    Args:
        picture: Grey or colour.
        where: What messages call it.

    Raises:
        DataError: It is black throughout.
    """
    pixels = np.asarray(picture)
    bright = _brightest(pixels) > BRIGHT
    rows = np.flatnonzero(bright.mean(axis=1) >= SHARE)
    columns = np.flatnonzero(bright.mean(axis=0) >= SHARE)
    if not len(rows) or not len(columns):
        remedy = "Look at the picture and remove it, or leave --crop-borders out."
        raise DataError(Problem("a picture with something bright", "a black one", where, remedy))
    return picture.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def _brightest(pixels: UInt8[NDArray[np.uint8], "..."]) -> UInt8[NDArray[np.uint8], "row column"]:
    return pixels if pixels.ndim == 2 else pixels.max(axis=2)
