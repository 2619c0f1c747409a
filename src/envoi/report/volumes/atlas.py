"""Sections of volumes as radiologists look at them, set side by side in embedded pictures.

Front is up in axial sections, the head's top in the others; the patient's right is on the left,
and in sagittal sections the nose is. A voxel stays a voxel: nothing is smoothed, and the page
enlarges pixel by pixel. Where voxels are no cubes, the shorter side makes the pixel.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

from envoi.evaluation.scores import PLANES, Plane
from envoi.report.gallery import EmbeddedPicture
from envoi.report.volumes.sets import VolumeSets
from envoi.volumes import Grid, Voxels

SHOWN = 3
PLACES = (0.2, 0.35, 0.5, 0.65, 0.8)
GAP_PX = 2

Sheet = UInt8[NDArray[np.uint8], "_row _column"]


@dataclass(frozen=True, slots=True)
class Plate:
    """One plane of the atlas: real volumes beside synthetic ones, at the same places."""

    plane: Plane
    real: EmbeddedPicture
    synthetic: EmbeddedPicture


def atlas(sets: VolumeSets) -> tuple[Plate, ...]:
    """The first volumes of each set in all planes; none is chosen by its looks."""
    return tuple(_plate(sets, plane) for plane in PLANES)


def section(voxels: Voxels, plane: Plane, place: int, grid: Grid) -> Sheet:
    """One section, 0 black to 255 white, its pixels square.

    Args:
        voxels: 0 to 1, axes of RAS+.
        plane: Of the section.
        place: Number of the slice along the plane's axis.
        grid: Of the voxels.
    """
    axis = PLANES.index(plane)
    cut = np.take(voxels, place, axis=axis)[::-1, ::-1]
    down, across = (grid.spacing_mm[other] for other in range(3) if other != axis)
    finest = min(grid.spacing_mm)
    rows, columns = (
        _stretched(size, step / finest)
        for size, step in zip(cut.shape, (down, across), strict=True)
    )
    levels: Sheet = np.rint(255 * cut[np.ix_(rows, columns)]).astype(np.uint8)
    return levels


def middles(voxels: Voxels, grid: Grid) -> list[Sheet]:
    """The middle section of each plane."""
    return [
        section(voxels, plane, size // 2, grid)
        for plane, size in zip(PLANES, voxels.shape, strict=True)
    ]


def sheet(rows: Sequence[Sequence[Sheet]]) -> Sheet:
    """Sections in rows and columns on black; each is in the middle of its place."""
    height = max(one.shape[0] for row in rows for one in row)
    widths = [max(one.shape[1] for one in column) for column in zip(*rows, strict=True)]
    lines = [
        np.hstack([_padded(one, height, width) for one, width in zip(row, widths, strict=True)])
        for row in rows
    ]
    joined: Sheet = np.vstack(lines)
    return joined


def picture(drawn: Sheet, caption: str) -> EmbeddedPicture:
    """A sheet as a picture that the page carries in itself."""
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG", optimize=True)
    uri = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    height, width = drawn.shape
    return EmbeddedPicture(uri, caption, width, height)


def _plate(sets: VolumeSets, plane: Plane) -> Plate:
    places = _places(sets, plane)
    slices = ", ".join(str(place + 1) for place in places)
    words = f"the first {SHOWN} of the set, one a row, at slices {slices}"
    drawn = [
        sheet(
            [[section(one, plane, place, sets.grid) for place in places] for one in volumes[:SHOWN]]
        )
        for volumes in (sets.held_out, sets.synthetic)
    ]
    return Plate(
        plane,
        picture(drawn[0], f"{sets.real_word.capitalize()}, held out: {words}"),
        picture(drawn[1], f"Synthetic: {words}"),
    )


def _places(sets: VolumeSets, plane: Plane) -> list[int]:
    """Slices at fixed parts of the way through the held-out brains."""
    axis = PLANES.index(plane)
    others = tuple(other for other in range(4) if other != axis + 1)
    filled = np.flatnonzero(sets.held_out.any(axis=others))
    first, last = int(filled[0]), int(filled[-1])
    return [round(first + part * (last - first)) for part in PLACES]


def _stretched(size: int, factor: float) -> NDArray[np.int64]:
    """Which voxel each pixel shows along a side."""
    pixels = max(1, round(size * factor))
    return ((np.arange(pixels) + 0.5) * size / pixels).astype(np.int64)


def _padded(one: Sheet, height: int, width: int) -> Sheet:
    """In the middle of a black place with a gap around it."""
    place = np.zeros((height + 2 * GAP_PX, width + 2 * GAP_PX), np.uint8)
    top, left = (height - one.shape[0]) // 2 + GAP_PX, (width - one.shape[1]) // 2 + GAP_PX
    place[top : top + one.shape[0], left : left + one.shape[1]] = one
    return place
