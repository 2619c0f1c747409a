"""DICOM read without a word: pydicom's warnings quote values, and those name patients."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quietly() -> Iterator[None]:
    """Without warnings: pydicom's quote the values that it takes amiss, and those name patients."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
