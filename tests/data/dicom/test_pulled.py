"""What a pull leaves in a folder is what the reader takes: two rooms, one set of images."""

import io

import numpy as np
import pytest
from pydicom import dcmread

from envoi.data.dicom import DicomReading, scan_dicom
from envoi.data.dicom.labels import hidden_by, read_labels
from envoi.data.dicom.pixels import frame_picture, opened
from envoi.data.dicom.pseudonyms import Pseudonyms
from tests.data.dicom.files import SECRET, dicom

pytest.importorskip("dicomanonymizer")

from envoi.data.pacs.deidentify import Profile, deidentify

NAMES = Pseudonyms(bytes(range(32)))
KINDS = {
    "window": {"BitsStored": 12, "WindowCenter": "2048", "WindowWidth": "2000"},
    "inverted": {"BitsStored": 12, "WindowCenter": "900", "WindowWidth": "400",
                 "PhotometricInterpretation": "MONOCHROME1"},
    "units": {"BitsStored": 12, "RescaleSlope": "2", "RescaleIntercept": "-1024",
              "WindowCenter": "40", "WindowWidth": "400"},
    "turned": {"BitsStored": 12, "WindowCenter": "2048", "WindowWidth": "4096",
               "ImageOrientationPatient": ["-1", "0", "0", "0", "1", "0"]},
}  # fmt: skip


def saved(file):
    stream = io.BytesIO()
    file.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return dcmread(stream)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pulled_image_looks_as_the_original(kind, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (12, 10), np.uint16)
    original = saved(dicom(pixels, uid="1.2.3.9", **KINDS[kind]))
    patient = NAMES.patient("17")
    made = deidentify(original, patient, NAMES, Profile())
    path = tmp_path / "pulled" / patient / f"{made.instance}.dcm"
    path.parent.mkdir(parents=True)
    path.write_bytes(made.content)
    (tmp_path / "labels.csv").write_text("AccessionNumber,label\nA1,x\n")
    labels = read_labels(tmp_path / "labels.csv", hidden=hidden_by(NAMES))
    reading = DicomReading(orientation="standard")
    (row,) = scan_dicom(tmp_path / "pulled", labels, reading).rows
    assert row.label == "x"
    pulled = np.asarray(frame_picture(opened(row.path, row.where), 0, reading, row.where))
    assert np.array_equal(pulled, np.asarray(frame_picture(original, 0, reading, "file 1")))
    assert len(np.unique(pulled)) > 3
    assert SECRET.encode() not in made.content
