"""Data sets without a file around them are recognised, and other files hardly ever are."""

from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from envoi.data.dicom import scan_dicom
from envoi.data.dicom.bare import begins_as_data_set
from envoi.data.dicom.labels import Labelled, Labels
from envoi.errors import DataError, StorageError
from tests.data.dicom.files import SECRET, dicom

LABELS = Labels("SOPInstanceUID", {"1.1": Labelled(2, "x", None, None)})
BARE = "expected a whole DICOM file, found a data set without the preamble"


def image(uid):
    return dicom(np.full((8, 8), 100, np.uint8), uid=uid)


def written(syntax, *, meta=False, uid="1.2"):
    """The bytes of a data set, with its meta information or without, and never a preamble."""
    made, file = image(uid), BytesIO()
    made.preamble = None
    made.file_meta.TransferSyntaxUID = syntax
    if not meta:
        made = made.copy()
        made.file_meta.clear()
    dcmwrite(
        file,
        made,
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
        enforce_file_format=False,
    )
    return file.getvalue()


BARE_ONES = [
    written(ImplicitVRLittleEndian),
    written(ExplicitVRLittleEndian),
    written(ExplicitVRBigEndian),
    written(ExplicitVRLittleEndian, meta=True),
]


@pytest.mark.parametrize("content", BARE_ONES, ids=["implicit", "explicit", "big", "meta"])
@pytest.mark.parametrize("name", ["IM_0001", "IM_0001.dcm", "scan.bin"])
def test_a_bare_data_set_is_refused_under_any_name(content, name, tmp_path):
    assert content[128:132] != b"DICM"
    image("1.1").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=BARE) as caught:
        scan_dicom(tmp_path, LABELS)
    assert "`dcmconv`" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_group_length_may_come_first(tmp_path):
    path = tmp_path / "acr"
    length = (b"\x08\0\0\0\4\0\0\0" + bytes(4), b"\x08\0\0\0UL\4\0" + bytes(4))
    for content in length:
        path.write_bytes(content)
        assert begins_as_data_set(path)
    path.write_bytes(b"\x08\0\0\0\0\0\0\0" + bytes(4))
    assert not begins_as_data_set(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\0\x05\0CS",
        b"no image, but words enough for a header",
        b"\x89PNG\r\n\x1a\n" + bytes(20),
        b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(20),
        bytes(200),
        b"\x02\0\0\0" + bytes(200),  # counts in four bytes
        b"\x08\0\x05\0CS\xff\0" + bytes(400),  # an odd length
        b"\x08\0\x05\0CS\x10\0" + bytes(4),  # more than there is
        b"\x08\0\x99\xaaCS\x02\0" + bytes(4),  # no such element
        b"\x10\0\x10\0PN\x02\0" + bytes(4),  # another group
    ],
)
def test_other_files_are_passed_over_and_counted(content, tmp_path):
    image("1.1").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (tmp_path / "other").write_bytes(content)
    (tmp_path / ".hidden").write_bytes(content)
    (tmp_path / "DICOMDIR").write_bytes(content)
    (tmp_path / "link").symlink_to(tmp_path)
    found = scan_dicom(tmp_path, LABELS)
    assert (len(found.rows), found.others) == (1, 2)


def test_where_none_is_dicom_others_are_counted(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(StorageError, match="expected DICOM files, found none among 1 file. Give"):
        scan_dicom(tmp_path, LABELS)


def test_a_deflated_file_has_a_preamble_and_is_taken(tmp_path):
    made = image("1.1")
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made.save_as(tmp_path / "a", enforce_file_format=True)
    assert len(scan_dicom(tmp_path, LABELS).rows) == 1
