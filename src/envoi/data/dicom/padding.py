"""Which pixels of a grey image are padding: round the field of view, or masked, and no tissue.

PS3.3, C.7.5.1.1.2: stored values from PixelPaddingValue to PixelPaddingRangeLimit, both included,
or the first alone. They are in no window and have no meaning after a rescale.
"""

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from pydicom import Dataset


def padding(stored: NDArray[np.generic], file: Dataset) -> Bool[NDArray[np.bool_], "row column"]:
    """Where there is padding.

    Args:
        stored: Values before the modality's rescale.
        file: The header.

    Raises:
        ValueError: The file tells it in other than whole numbers.
    """
    first = file.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, np.bool_)
    last = file.get("PixelPaddingRangeLimit")
    low, high = sorted(
        _as_stored(value, file) for value in (first, first if last is None else last)
    )
    values = stored.astype(np.int64)
    return (low <= values) & (values <= high)


def _as_stored(value: object, file: Dataset) -> int:
    """A value with the sign that pixels have: -2000 is often written as 63536, its bits."""
    if not isinstance(value, int):
        raise ValueError  # noqa: TRY004  (of a file's content)
    span = 1 << int(file.BitsAllocated)
    if file.PixelRepresentation and value >= span // 2:
        return value - span
    return value + span if not file.PixelRepresentation and value < 0 else value
