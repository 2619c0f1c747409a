"""What a DICOM header must say before a pixel is read, in words that name nobody."""

from collections.abc import Iterator
from typing import Any

from pydicom import Dataset

from envoi.data.dicom.decoding import problems_of_decoder
from envoi.data.dicom.orientation import is_usual, letters
from envoi.data.dicom.polarity import problems_of_polarity
from envoi.data.dicom.quiet import quietly
from envoi.data.dicom.reading import DicomReading
from envoi.data.dicom.window import problems_of_window
from envoi.data.pictures import MOST_PIXELS
from envoi.errors import Problem

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = (
    "RGB",
    "PALETTE COLOR",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_PARTIAL_420",
    "YBR_ICT",
    "YBR_RCT",
)
# Whose pixels hold names as a rule, where the file does not say that they do not.
_OFTEN_ANNOTATED = ("US", "IVUS", "OT", "ES")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
# Endoscopic image and video.
_ENDOSCOPY = ("1.2.840.10008.5.1.4.1.1.77.1.1", "1.2.840.10008.5.1.4.1.1.77.1.1.1")
MOST_FRAMES = 100_000
"""Of a file; where there are more, the header is damaged."""
_GROUPS = ("FrameVOILUTSequence", "PixelValueTransformationSequence", "PlaneOrientationSequence")

TAGS = (
    "AccessionNumber",
    "BitsStored",
    "BurnedInAnnotation",
    "Columns",
    "ImageOrientationPatient",
    "IssuerOfPatientID",
    "Modality",
    "NumberOfFrames",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientOrientation",
    "PatientSex",
    "PerFrameFunctionalGroupsSequence",
    "PhotometricInterpretation",
    "PresentationLUTShape",
    "Rows",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SharedFunctionalGroupsSequence",
    "SpecimenLabelInImage",
    "StudyInstanceUID",
)
"""What is read of every header; a file in which one of these is damaged is refused."""
WINDOW_TAGS = ("VOILUTFunction", "VOILUTSequence", "WindowCenter", "WindowWidth")
"""What is read beside them, and parsed only where the file's own window is asked for."""


def problems_of_header(header: Dataset, reading: DicomReading, where: str) -> list[Problem]:
    """All that keeps an image from being taken.

    Args:
        header: At least `TAGS` of it.
        reading: What may be done.
        where: What messages call the file.
    """
    try:
        with quietly():
            return list(_problems(header, reading, where))
    except Exception:  # noqa: BLE001  (values raise whatever their bytes lead to, and quote them)
        remedy = "Export the file again: a value of its header is damaged."
        return [Problem("a header whose values can be read", "another", where, remedy)]


def _problems(header: Dataset, reading: DicomReading, where: str) -> Iterator[Problem]:
    rows, columns = number(header, "Rows"), number(header, "Columns")
    if not rows or not columns:
        remedy = "Take files without an image out of the folder (reports, waveforms, structures)."
        yield Problem("an image", "no pixels", where, remedy)
        return
    frames = number(header, "NumberOfFrames")
    if frames < 0 or frames > MOST_FRAMES:
        remedy = "Export the file again, in parts if it has so many frames; no option permits it."
        yield Problem(f"0 to {MOST_FRAMES} frames", "another number", where, remedy)
        return
    if rows * columns > MOST_PIXELS:
        remedy = "Scale the image down before; no option permits this."
        found = f"{columns} x {rows}"
        yield Problem(f"at most {MOST_PIXELS} pixels a frame", found, where, remedy)
    kind = str(header.get("PhotometricInterpretation", ""))
    if kind not in (*GREY, *COLOUR):
        remedy = "Export the image as grey or RGB."
        yield Problem("grey, palette, RGB or YBR pixels", "another kind", where, remedy)
    yield from _problems_of_frames(header, reading, where)
    yield from _problems_of_annotation(header, reading, where)
    yield from _problems_of_orientation(header, reading, where)
    yield from _problems_of_window(header, reading, where)
    yield from problems_of_decoder(header, where)
    yield from problems_of_polarity(header, reading, where)
    if not str(header.get("PatientID") or "").strip():
        remedy = "Fill PatientID in: images of one patient must not train and test at once."
        yield Problem("a patient's number", "none", where, remedy)


def of_frame(header: Dataset, frame: int) -> Dataset:
    """A header with what enhanced files say of all frames, or of this one, beside the pixels.

    Where such a file keeps its window, rescaling and orientation (PS3.3, C.7.6.16).
    """
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    each = header.get("PerFrameFunctionalGroupsSequence") or ()
    told = Dataset()
    if "file_meta" in vars(header):  # tables of a file are read by its byte order
        told.file_meta = header.file_meta
    told.update({element.tag: element for element in header if element.VR != "SQ"})
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        if keyword in header:
            told[keyword] = header[keyword]
    for groups in (*shared[:1], *each[frame : frame + 1]):
        for keyword in _GROUPS:
            for item in (groups.get(keyword) or ())[:1]:
                told.update({element.tag: element for element in item})
    return told


def frames_of(header: Dataset, reading: DicomReading) -> range:
    """Which frames are taken, by their index."""
    count = max(1, number(header, "NumberOfFrames"))
    if reading.frames == "middle":
        return range(count // 2, count // 2 + 1)
    return range(count)


def number(header: Dataset, keyword: str) -> int:
    """A whole number of a header; 0 where there is none."""
    value: Any = header.get(keyword)
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _problems_of_frames(header: Dataset, reading: DicomReading, where: str) -> Iterator[Problem]:
    count = number(header, "NumberOfFrames")
    if count > 1 and reading.frames == "one":
        remedy = "Choose --frames middle or --frames all (in Python: frames=...)."
        yield Problem("one frame", f"{count}", where, remedy)


def _problems_of_annotation(
    header: Dataset, reading: DicomReading, where: str
) -> Iterator[Problem]:
    """Of pixels that hold text, by the file's word or by what is usual."""
    if reading.allow_burned_in:
        return
    told = annotation_of(header)
    remedy = (
        "Look at the images, black the text out, or permit it with --allow-burned-in-annotation "
        "(in Python: allow_burned_in=True)."
    )
    if told == "YES":
        found = "BurnedInAnnotation or SpecimenLabelInImage YES"
        yield Problem("pixels without annotations", found, where, remedy)
    elif told != "NO" and is_often_annotated(header):
        found = "an ultrasound, endoscopy, secondary capture or whole slide that does not say"
        yield Problem("BurnedInAnnotation NO", found, where, remedy)


def annotation_of(header: Dataset) -> str:
    """What a file says of text in its pixels: `YES`, `NO`, nothing, or whatever it says.

    The label of a slide bears names as well (PS3.3, C.8.12.4).
    """
    if str(header.get("SpecimenLabelInImage") or "").upper() == "YES":
        return "YES"
    return str(header.get("BurnedInAnnotation") or "").upper()


def is_often_annotated(header: Dataset) -> bool:
    """Whether such images often have text in them.

    Those are ultrasound, endoscopy (whose processors write names beside the picture), captures of a
    screen and slides. Photographs of skin and eyes are no captures, though their UIDs begin alike:
    the first is `...1.1.7`, or below it; theirs are below `...1.1.77`.
    """
    uid = str(header.get("SOPClassUID") or "")
    capture = uid == _SECONDARY_CAPTURE or uid.startswith(f"{_SECONDARY_CAPTURE}.")
    modality = str(header.get("Modality") or "")
    return capture or uid in {_WHOLE_SLIDE, *_ENDOSCOPY} or modality in _OFTEN_ANNOTATED


def _problems_of_orientation(
    header: Dataset, reading: DicomReading, where: str
) -> Iterator[Problem]:
    """Of each frame that is taken: enhanced files may turn them one by one."""
    if reading.orientation != "check":
        return
    remedy = (
        "--orientation standard turns it, --orientation stored takes it as it is (in Python: "
        "orientation=...)."
    )
    told_apart = _told_apart(header, reading)
    for lying in dict.fromkeys(letters(frame) for frame in told_apart):
        if lying is not None and not is_usual(lying):
            found = "rows to {} and columns to {}".format(*lying)
            yield Problem("an image that lies as it is read", found, where, remedy)


def _problems_of_window(header: Dataset, reading: DicomReading, where: str) -> Iterator[Problem]:
    """Of each frame that is taken: enhanced files may have a window for each."""
    if reading.window == "file" and str(header.get("PhotometricInterpretation")) in GREY:
        told_apart = _told_apart(header, reading)
        yield from dict.fromkeys(
            problem for frame in told_apart for problem in problems_of_window(frame, where)
        )


def _told_apart(header: Dataset, reading: DicomReading) -> Iterator[Dataset]:
    """What is said of each frame that is taken, once of all those of which nothing more is said."""
    told = len(header.get("PerFrameFunctionalGroupsSequence") or ())
    for frame in sorted({min(frame, told) for frame in frames_of(header, reading)}):
        yield of_frame(header, frame)
