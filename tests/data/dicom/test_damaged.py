"""Headers whose values are damaged: the file is told by its place, and no value is quoted."""

import warnings

import numpy as np
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from envoi.data.dicom import DicomReading, frame_picture, scan_dicom
from envoi.data.dicom.labels import Labelled, Labels
from envoi.data.dicom.pixels import opened
from envoi.data.dicom.quiet import quietly
from envoi.errors import DataError
from tests.data.dicom.files import SECRET, dicom, item

VALUES = np.arange(16, dtype=np.uint16).reshape(4, 4)
WINDOW = {"BitsStored": 12, "WindowCenter": "8", "WindowWidth": "9"}
LABELS = Labels("SOPInstanceUID", {"1.1": Labelled(2, "x", None, None)})
REVIEWED = b"X\0\0\0\1\0"  # of six characters, where six numbers should be


def raw(file, keyword, kind, value):
    """Bytes as they are, which no writer checks."""
    tag = Tag(tag_for_keyword(keyword))
    value += b" " * (len(value) % 2)
    file[tag] = RawDataElement(tag, kind, len(value), value, 0, False, True)
    return file


def taken(tmp_path, file, **reading):
    """All that becomes of a file, with warnings as a user sees them: told, and no error."""
    with quietly():
        file.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    options = DicomReading(**reading)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            for row in scan_dicom(tmp_path, LABELS, options).rows:
                frame_picture(opened(row.path, row.where), row.frame, options, row.where)
        finally:
            assert not told
    return True


def refused(tmp_path, file, **reading):
    with pytest.raises(DataError) as caught:
        taken(tmp_path, file, **reading)
    message = str(caught.value)
    assert "file 1 in name order: expected" in message
    for secret in (SECRET, "17", "1.1", "X"):
        assert secret not in message
    assert caught.value.__cause__ is None
    return message


def test_the_file_itself_is_taken(tmp_path):
    assert taken(tmp_path, dicom(VALUES, uid="1.1", **WINDOW))


@pytest.mark.parametrize("value", [REVIEWED, SECRET.encode(), b"1\\2", b"nan\\0\\0\\0\\1\\0", b"1"])
@pytest.mark.parametrize("orientation", ["check", "standard"])
def test_cosines_that_are_no_six_numbers(tmp_path, value, orientation):
    file = raw(dicom(VALUES, uid="1.1", **WINDOW), "ImageOrientationPatient", "DS", value)
    assert "Export the file again" in refused(tmp_path, file, orientation=orientation)
    assert taken(tmp_path, file, orientation="stored") or True


def test_cosines_of_a_frame_that_are_no_numbers(tmp_path):
    plane = raw(item(), "ImageOrientationPatient", "DS", b"X\\0\\0\\0\\1\\0")
    group = item(PlaneOrientationSequence=[plane])
    file = dicom(VALUES, uid="1.1", SharedFunctionalGroupsSequence=[group], **WINDOW)
    assert "a header whose values can be read" in refused(tmp_path, file)


@pytest.mark.parametrize(
    ("keyword", "kind"),
    [
        ("Rows", "US"),
        ("Columns", "US"),
        ("BitsAllocated", "US"),
        ("BitsStored", "US"),
        ("PixelRepresentation", "US"),
        ("SamplesPerPixel", "US"),
        ("RescaleSlope", "DS"),
        ("RescaleIntercept", "DS"),
        ("WindowCenter", "DS"),
        ("WindowWidth", "DS"),
        ("VOILUTFunction", "CS"),
        ("NumberOfFrames", "IS"),
        ("PhotometricInterpretation", "CS"),
        ("SOPInstanceUID", "UI"),
    ],
)
@pytest.mark.parametrize("value", [REVIEWED, SECRET.encode(), b"\xff\xff", b"-1", b"1\\2\\3"])
@pytest.mark.parametrize("window", ["file", "content"])
def test_any_value_is_told_or_without_effect(tmp_path, keyword, kind, value, window):
    scale = {"RescaleSlope": "1", "RescaleIntercept": "0"}
    file = raw(dicom(VALUES, uid="1.1", **WINDOW, **scale), keyword, kind, value)
    reading = {"frames": "all", "window": window}
    harmless = {"WindowCenter", "WindowWidth", "VOILUTFunction"} if window == "content" else set()
    numbers = {"WindowCenter", "RescaleSlope", "RescaleIntercept"} if value == b"-1" else set()
    if keyword in harmless | numbers:
        assert taken(tmp_path, file, **reading)
    elif keyword == "SOPInstanceUID":  # another image, which the table does not name
        with pytest.raises(DataError, match="labels, line 2"):
            taken(tmp_path, file, **reading)
    else:
        refused(tmp_path, file, **reading)


@pytest.mark.parametrize("value", [b"999999999999", b"100001", b"-5"])
def test_more_frames_than_there_can_be_are_told_at_once(tmp_path, value):
    file = raw(dicom(VALUES, uid="1.1", **WINDOW), "NumberOfFrames", "IS", value)
    for frames in ("one", "middle", "all"):
        assert "expected 0 to 100000 frames" in refused(tmp_path, file, frames=frames)


@pytest.mark.parametrize(
    "scale",
    [
        {"RescaleSlope": "1"},
        {"RescaleIntercept": "1"},
        {"RescaleSlope": "0", "RescaleIntercept": "1"},
    ],
)
def test_a_rescale_is_two_numbers_that_make_sense(tmp_path, scale):
    assert "Export the file again" in refused(tmp_path, dicom(VALUES, uid="1.1", **WINDOW, **scale))


@pytest.mark.parametrize("number", [b"nan", b"inf", b"1e309"])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_rescale_is_finite(tmp_path, keyword, number):
    scale = {"RescaleSlope": "1", "RescaleIntercept": "0"}
    file = raw(dicom(VALUES, uid="1.1", **WINDOW, **scale), keyword, "DS", number)
    assert "Export the file again" in refused(tmp_path, file)


def table(bits, entries=16):
    made = item(LUTDescriptor=[entries, 0, bits], LUTData=np.arange(entries, dtype="<u2").tobytes())
    made["LUTDescriptor"].VR, made["LUTData"].VR = "US", "OW"
    return made


@pytest.mark.parametrize("bits", [0, 1, 9, 17])
def test_a_table_of_an_odd_depth_is_told(tmp_path, bits):
    file = dicom(VALUES, uid="1.1", BitsStored=12, VOILUTSequence=[table(bits)])
    assert "a header that says how to show its pixels" in refused(tmp_path, file)


def test_a_long_table_of_8_bits_is_looked_up_at_its_end():
    values = np.array([[0, 255, 256, 1000, 4095]], np.uint16)
    entries = table(8, 4096)
    entries.LUTData = (np.arange(4096) // 16).astype("<u2").tobytes()
    file = dicom(values, BitsStored=12, VOILUTSequence=[entries])
    shown = np.asarray(frame_picture(file, 0, DicomReading(), "file 1"))
    assert shown.tolist() == [[0, 15, 16, 62, 255]]
