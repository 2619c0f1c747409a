"""How the rows and columns of an image lie in the patient, and turning them to the usual way.

DICOM names the direction in which rows run from left to right, then that in which columns run
from top to bottom: L and R are the patient's left and right, A and P front and back, H and F
head and feet (PS3.3, C.7.6.1.1.1). Radiologists look at frontal, axial and coronal images with
the patient's left on the right of the image.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

_AXES = {"L": 0, "R": 0, "A": 1, "P": 1, "H": 2, "F": 2}
# Of the world's axes: DICOM's x runs to the left, y to the back, z to the head.
_POSITIVE, _NEGATIVE = ("L", "P", "H"), ("R", "A", "F")
# Rows, columns. Lateral radiographs and sagittal slices face either way.
_USUAL = {("L", "F"), ("A", "F"), ("P", "F"), ("L", "P")}
_TILT = 0.35  # of a cosine: oblique by more than 20 degrees has no letter

Pixels = NDArray[np.uint8]


def letters(header: Dataset) -> tuple[str, str] | None:
    """Where rows and columns run to, by their nearest axes; None where the file does not say.

    Raises:
        ValueError: It says it in other than six numbers.
    """
    told = header.get("PatientOrientation")
    if told and len(told) == 2 and all(str(one)[:1] in _AXES for one in told):
        rows, columns = (str(one)[0] for one in told)
        return (rows, columns) if _AXES[rows] != _AXES[columns] else None
    cosines = header.get("ImageOrientationPatient")
    if not cosines:
        return None
    if isinstance(cosines, str | float) or len(cosines) != 6:
        raise ValueError
    rows_to, columns_to = _nearest(cosines[:3]), _nearest(cosines[3:])
    if rows_to is None or columns_to is None or _AXES[rows_to] == _AXES[columns_to]:
        return None
    return rows_to, columns_to


def is_usual(where: tuple[str, str]) -> bool:
    """Whether an image lies as it is usually read."""
    return where in _USUAL


def turning(where: tuple[str, str]) -> Callable[[Pixels], Pixels]:
    """What brings pixels `(row, column, ...)` that lie so to the usual way, without resampling."""
    swapped, mirrored, flipped = min(_ways(where))

    def turned(pixels: Pixels) -> Pixels:
        pixels = pixels.swapaxes(0, 1) if swapped else pixels
        pixels = pixels[:, ::-1] if mirrored else pixels
        return pixels[::-1] if flipped else pixels

    return turned


def _ways(where: tuple[str, str]) -> Iterator[tuple[bool, bool, bool]]:
    """Whether rows and columns change places, and which of them are reversed after it."""
    for swapped, (rows, columns) in ((False, where), (True, where[::-1])):
        for usual in _USUAL:
            if (_AXES[rows], _AXES[columns]) == (_AXES[usual[0]], _AXES[usual[1]]):
                yield swapped, rows != usual[0], columns != usual[1]


def _nearest(cosines: list[float]) -> str | None:
    """The axis that a direction is nearest to, unless it is oblique."""
    values = np.array([float(value) for value in cosines])
    if not np.isfinite(values).all():
        raise ValueError
    axis = int(np.abs(values).argmax())
    if np.sort(np.abs(values))[1] > _TILT:
        return None
    return _POSITIVE[axis] if values[axis] > 0 else _NEGATIVE[axis]
