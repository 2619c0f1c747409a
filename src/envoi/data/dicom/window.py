"""Whether a grey file says by itself how its values become grey: by one window or one VOI table."""

from collections.abc import Iterator

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue

from envoi.errors import Problem


def problems_of_window(file: Dataset, where: str) -> Iterator[Problem]:
    """What keeps a file's own window from being used; 8 bits need none.

    Args:
        file: What is said of one frame.
        where: What messages call the file.
    """
    found = _instead(file)
    if found is not None:
        remedy = (
            "Choose --window CENTRE,WIDTH, or --window stored or content (in Python: window=...)."
        )
        yield Problem("one window or VOI table in the file", found, where, remedy)


def numbers(file: Dataset, keyword: str) -> list[float]:
    """All values of an attribute, of which there may be none."""
    value = file.get(keyword)
    if value is None:
        return []
    return [float(one) for one in (value if isinstance(value, MultiValue) else [value])]


def function_of(file: Dataset) -> str:
    """How a window becomes grey (PS3.3, C.11.2.1.2 and C.11.2.1.3)."""
    return str(file.get("VOILUTFunction") or "LINEAR").upper()


def _instead(file: Dataset) -> str | None:
    """What there is in place of one window or table; None if there is one, or no need of any."""
    tables, centres = file.get("VOILUTSequence") or (), numbers(file, "WindowCenter")
    widths = numbers(file, "WindowWidth")
    if len(tables) + len(centres) > 1:
        return f"{len(tables) + len(centres)}"
    if tables:
        return None
    if centres or widths:
        return (
            None
            if _makes_sense(centres, widths, function_of(file))
            else "a window that makes no sense"
        )
    return None if int(file.get("BitsStored") or 0) <= 8 else "none"


def _makes_sense(centres: list[float], widths: list[float], function: str) -> bool:
    """Whether this is one window, of a width of 1 or more if linear (C.11.2.1.2), else above 0."""
    if len(centres) != 1 or len(widths) != 1 or not np.isfinite([*centres, *widths]).all():
        return False
    exact = function in {"LINEAR_EXACT", "SIGMOID"}
    return widths[0] > 0 if exact else function == "LINEAR" and widths[0] >= 1
