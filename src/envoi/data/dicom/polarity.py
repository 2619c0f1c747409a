"""Whether the least value of a grey image is white, where two attributes tell it.

PhotometricInterpretation says it of stored values: white in MONOCHROME1, black in MONOCHROME2.
PresentationLUTShape, where an image has one, repeats it: INVERSE shall be used of MONOCHROME1 and
IDENTITY of MONOCHROME2 (PS3.3, C.7.6.1 and C.8.11.3; in presentation states, which are not read
here, C.11.6 lets the shape decide alone). A file in which the two differ breaks the standard, and
shows lungs black in one viewer and white in another: whom to believe is a choice.
"""

from collections.abc import Iterator

from pydicom import Dataset

from envoi.data.dicom.reading import DicomReading
from envoi.errors import Problem

_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}


def problems_of_polarity(header: Dataset, reading: DicomReading, where: str) -> Iterator[Problem]:
    """Two attributes that contradict each other, unless `reading` says which one counts."""
    kind, shape = _told(header)
    if kind not in _SHAPES or not shape or reading.polarity == "photometric":
        return
    if reading.polarity == "presentation" and shape in _SHAPES.values():
        return
    if shape != _SHAPES[kind]:
        expected = "PresentationLUTShape INVERSE with MONOCHROME1 and IDENTITY with MONOCHROME2"
        found = f"{shape} with {kind}" if shape in _SHAPES.values() else f"another with {kind}"
        remedy = (
            "Look at an image, and choose --polarity photometric or --polarity presentation (in "
            "Python: polarity=...)."
        )
        yield Problem(expected, found, where, remedy)


def is_inverted(header: Dataset, reading: DicomReading) -> bool:
    """Whether the least value is white, of a grey image without `problems_of_polarity`."""
    kind, shape = _told(header)
    if shape and reading.polarity == "presentation":
        return shape == "INVERSE"
    return kind == "MONOCHROME1"


def _told(header: Dataset) -> tuple[str, str]:
    kind = str(header.get("PhotometricInterpretation") or "")
    return kind, str(header.get("PresentationLUTShape") or "").strip().upper()
