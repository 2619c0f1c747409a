"""RSNA's pneumonia challenge from files in its form; whose image it is, above all."""

import csv
import json
import warnings

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from envoi.data import load_table
from envoi.data.dicom import DicomReading
from envoi.data.prepared import Pictures
from envoi.data.sets.rsna_pneumonia import CLASSES, MAPPING, TARGETS, scan_rsna_pneumonia
from envoi.data.sets.source import Leniency, write_scan
from envoi.errors import DataError, EnvoiWarning, SettingsError, StorageError
from envoi.types import ImageSpec
from tests.data.dicom.files import SECRET
from tests.data.sets.packed import edit, rsna

THREE = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")


def two_each(number):
    return f"{SECRET}{number // 2}"


def prepared(source, out, leniency=None, **options):
    leniency = leniency or Leniency()
    scan = scan_rsna_pneumonia(source, leniency, **options)
    write_scan(out, scan, Pictures(size_px=16), leniency)
    with (out / "labels.csv").open() as file:
        return scan, list(csv.DictReader(file))


def refused(source, kind=DataError, **options):
    with pytest.raises(kind) as caught:
        scan_rsna_pneumonia(source, Leniency(), **options)
    assert SECRET not in str(caught.value)
    assert "0000000" not in str(caught.value)
    return str(caught.value)


def test_the_patient_is_the_files_and_not_its_name(tmp_path):
    source = rsna(tmp_path / "rsna", patient=two_each)
    _, rows = prepared(source, tmp_path / "set")
    assert [row["patient"] for row in rows] == [str(number // 2) for number in range(12)]
    kinds = ["pneumonia" if number % 3 == 2 else "no pneumonia" for number in range(12)]
    assert [row["label"] for row in rows] == kinds
    data = load_table(tmp_path / "set" / "labels.csv", spec=ImageSpec.of(1, 16))
    assert not set(data.train.patients) & set(data.test.patients)
    for path in (tmp_path / "set").rglob("*"):
        assert path.is_dir() or (SECRET.encode() not in path.read_bytes())
        assert "0000000a" not in path.name


def test_issuers_tell_patients_of_equal_numbers_apart(tmp_path):
    source = rsna(tmp_path / "rsna", 4, patient=lambda _: "1")
    for number, issuer in enumerate(("here", "here", "here", "elsewhere")):
        issued(source, number, issuer)
    _, rows = prepared(source, tmp_path / "set")
    assert [row["patient"] for row in rows] == ["0", "0", "0", "1"]


def issued(source, number, issuer):
    path = source / "stage_2_train_images" / f"{number:08x}.dcm"
    file = dcmread(path)
    file.IssuerOfPatientID = issuer
    file.save_as(path)


def test_a_number_with_and_without_an_issuer_is_refused(tmp_path):
    source = rsna(tmp_path / "rsna", 4, patient=lambda _: "1")
    issued(source, 2, SECRET)
    assert "files 1 and 3 in name order: expected one person under" in refused(source)


def test_rsnas_mapping_tells_the_patients_of_nih(tmp_path):
    source = rsna(tmp_path / "rsna", mapping=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, rows = prepared(source, tmp_path / "set")
    assert [row["patient"] for row in rows] == [str(number // 3) for number in range(12)]
    assert json.loads((tmp_path / "set" / "prepared.json").read_text())["patients"] == "mapping"


def test_as_many_patients_as_images_are_warned_of(tmp_path):
    source = rsna(tmp_path / "rsna")
    with pytest.warns(EnvoiWarning, match=f"Each of 12 images has a PatientID.*{MAPPING}"):
        scan_rsna_pneumonia(source, Leniency())


def test_a_mapping_that_does_not_fit_is_refused(tmp_path):
    source = rsna(tmp_path / "rsna", mapping=True)
    edit(source / MAPPING, '"subset_img_id": "0000000b"', '"subset_img_id": "x"')
    assert "file 12 in name order: expected an image that the mapping names" in refused(source)
    for text in ("{", "{}x", "[1]", '[{"img_id": "a"}]', "1"):
        (source / MAPPING).write_text(text)
        assert "expected a list with subset_img_id and img_id" in refused(source)


def test_three_classes_are_those_of_the_detailed_table(tmp_path):
    source = rsna(tmp_path / "rsna", patient=two_each)
    _, rows = prepared(source, tmp_path / "set", labels="class")
    assert [row["label"] for row in rows] == [THREE[number % 3] for number in range(12)]


@pytest.mark.parametrize(("gone", "kept"), [(TARGETS, CLASSES), (CLASSES, TARGETS)])
def test_two_classes_need_one_of_the_tables(tmp_path, gone, kept):
    source = rsna(tmp_path / "rsna", patient=two_each)
    scan = scan_rsna_pneumonia(source, Leniency())
    (source / gone).unlink()
    alone = scan_rsna_pneumonia(source, Leniency())
    assert [row.label for row in alone.sources] == [row.label for row in scan.sources]
    (source / kept).unlink()
    assert f"no {TARGETS}" in refused(source, StorageError)


def test_three_classes_need_the_detailed_table(tmp_path):
    source = rsna(tmp_path / "rsna")
    (source / CLASSES).unlink()
    assert f"expected the files of the set, found no {CLASSES}" in refused(
        source, StorageError, labels="class"
    )


@pytest.mark.parametrize(
    ("table", "old", "new", "words"),
    [
        (TARGETS, ",,,,,0", ",,,,,2", "a Target among 0, 1"),
        (TARGETS, "4.0,1", "4.0,0", "Target 1 where the class is Lung Opacity, and only there"),
        (TARGETS, "00000001,,,,,0", "00000001,1,1,1,1,1", "one Target an image, found another"),
        (CLASSES, "Normal", "normal", "a class among Normal"),
        (CLASSES, "patientId", "id", "one column called 'patientId'"),
    ],
)
def test_tables_that_are_wrong_or_contradict_are_refused(tmp_path, table, old, new, words):
    source = rsna(tmp_path / "rsna")
    edit(source / table, old, new)
    assert words in refused(source)


def test_missing_and_unlabelled_files_are_refused_or_counted(tmp_path):
    source = rsna(tmp_path / "rsna", patient=two_each)
    images = source / "stage_2_train_images"
    (images / "00000001.dcm").unlink()
    (images / "00000002.dcm").rename(images / "other.dcm")
    message = refused(source)
    assert "expected the picture that each line labels, found none" in message
    scan, rows = prepared(source, tmp_path / "set", Leniency(allow_missing=True))
    assert (scan.matched.missing, scan.matched.unlabelled, len(rows)) == (2, 1, 10)
    for path in images.iterdir():
        path.rename(images / f"x{path.name}")
    with pytest.raises(DataError, match="pictures that the table labels, found none"):
        scan_rsna_pneumonia(source, Leniency(allow_missing=True))
    for path in images.iterdir():
        path.unlink()
    assert "expected a folder of .dcm files" in refused(source, StorageError)


def test_files_may_lie_beside_the_tables(tmp_path):
    source = rsna(tmp_path / "rsna", patient=two_each)
    (source / "stage_2_train_images").rename(source / "images")
    assert len(scan_rsna_pneumonia(source, Leniency()).sources) == 12


def test_damaged_files_are_counted_and_not_named(tmp_path):
    source = rsna(tmp_path / "rsna", patient=two_each)
    images = source / "stage_2_train_images"
    (images / "00000002.dcm").write_bytes(b"not DICOM")
    assert "radiographs, file 3 in name order: expected a whole DICOM file" in refused(source)
    (images / "00000005.dcm").write_bytes((images / "00000005.dcm").read_bytes()[:-100])
    lenient = Leniency(leave_out_unreadable=True)
    scan, rows = prepared(source, tmp_path / "set", lenient)
    assert (scan.unreadable, len(scan.sources), len(rows)) == (1, 11, 10)
    (images / "00000002.dcm").unlink()
    with pytest.raises(DataError, match="file 5 in name order: expected whole pixels"):
        prepared(source, tmp_path / "other", Leniency(allow_missing=True))


def test_captures_that_say_nothing_of_text_are_taken_and_others_are_not(tmp_path):
    source = rsna(tmp_path / "rsna", patient=two_each, BurnedInAnnotation="YES")
    assert "found BurnedInAnnotation or SpecimenLabelInImage YES" in refused(source)
    reading = DicomReading(allow_burned_in=True)
    assert len(scan_rsna_pneumonia(source, Leniency(), reading=reading).sources) == 12


def test_headers_are_checked_as_those_of_any_dicom_file(tmp_path):
    source = rsna(tmp_path / "a", 2, patient=two_each, PatientOrientation=["R", "F"])
    assert "an image that lies as it is read" in refused(source)
    source = rsna(tmp_path / "b", 2, patient=lambda _: "")
    assert "expected a patient's number" in refused(source)
    source = rsna(tmp_path / "c", 2, patient=two_each, SOPInstanceUID="1.2")
    assert "expected each image once" in refused(source)


def test_two_people_under_one_number_are_one_patient_by_permission(tmp_path):
    source = rsna(tmp_path / "rsna", 4, patient=two_each)
    path = source / "stage_2_train_images" / "00000001.dcm"
    file = dcmread(path)
    file.PatientName = "Other"
    file.save_as(path)
    assert "found two people, by name" in refused(source)
    scan = scan_rsna_pneumonia(source, Leniency(), allow_shared_ids=True)
    assert [one.patient for one in scan.sources] == [0, 0, 1, 1]


def test_pixels_are_those_of_the_file(tmp_path):
    source = rsna(tmp_path / "rsna", patient=two_each)
    prepared(source, tmp_path / "set")
    pixels = dcmread(source / "stage_2_train_images" / "00000004.dcm").pixel_array
    with Image.open(tmp_path / "set" / "images" / "0000005.png") as picture:
        assert np.array_equal(np.asarray(picture), pixels)


def test_choices_are_checked(tmp_path):
    with pytest.raises(SettingsError, match="target or class"):
        scan_rsna_pneumonia(tmp_path, Leniency(), labels="both")


def test_an_unfinished_set_does_not_go_on_with_other_files(tmp_path):
    source = rsna(tmp_path / "rsna", patient=two_each)
    first, last = (source / "stage_2_train_images" / f"0000000{digit}.dcm" for digit in "0b")
    whole = last.read_bytes()
    last.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="expected whole pixels"):
        prepared(source, tmp_path / "set")
    first.write_bytes(first.read_bytes()[:-1] + b"\0")
    last.write_bytes(whole)
    with pytest.raises(StorageError, match="or of files that have changed"):
        prepared(source, tmp_path / "set")
