"""Kaggle's fundus photographs from files in its form: both eyes stay together."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from envoi.data import load_table
from envoi.data.prepared import Pictures
from envoi.data.sets.diabetic_retinopathy import (
    ENDINGS,
    TABLE,
    pictures_folder,
    scan_diabetic_retinopathy,
)
from envoi.data.sets.source import Files, Leniency, pictures_in, write_scan
from envoi.errors import DataError, StorageError
from envoi.types import ImageSpec
from tests.data.sets.packed import edit, eyes


def prepared(source, out, leniency=None, size_px=16, **options):
    leniency = leniency or Leniency()
    with pictures_in(pictures_folder(source), ENDINGS, what="photographs", remedy="-") as files:
        scan = scan_diabetic_retinopathy(source, files, leniency, **options)
        write_scan(out, scan, Pictures(size_px=size_px), leniency)
    with (out / "labels.csv").open() as file:
        return scan, list(csv.DictReader(file))


def refused(source, out, kind=DataError, **options):
    with pytest.raises(kind) as caught:
        prepared(source, out, **options)
    assert "_left" not in str(caught.value).replace("PATIENT_left", "")
    return str(caught.value)


def test_both_eyes_of_a_patient_share_a_number_and_a_part(tmp_path):
    source = eyes(tmp_path / "kaggle")
    _, rows = prepared(source, tmp_path / "set")
    with (source / TABLE).open() as file:
        told = {row["image"]: row["level"] for row in csv.DictReader(file)}
    names = sorted(told)  # the set is in the order of names
    assert [row["label"] for row in rows] == [f"grade {told[name]}" for name in names]
    numbers = {}
    for name, row in zip(names, rows, strict=True):
        numbers.setdefault(name.partition("_")[0], set()).add(row["patient"])
    assert {len(own) for own in numbers.values()} == {1}
    assert len(set.union(*numbers.values())) == 10
    data = load_table(tmp_path / "set" / "labels.csv", spec=ImageSpec.of(3, 16))
    assert not set(data.train.patients) & set(data.test.patients)
    text = "".join(path.read_text() for path in (tmp_path / "set").glob("*.*"))
    assert "_left" not in text


@settings(deadline=None, max_examples=40)
@given(st.sets(st.tuples(st.integers(0, 99), st.sampled_from(("left", "right"))), min_size=1))
def test_patients_are_told_apart_by_their_number_alone(tmp_path_factory, photographs):
    source = tmp_path_factory.mktemp("kaggle")
    names = sorted(f"{patient}_{eye}" for patient, eye in photographs)
    (source / TABLE).write_text("\n".join(["image,level", *(f"{name},0" for name in names)]))
    files = Files("photographs", lambda *_: Image.new("L", (1, 1)), tuple(names), str)
    sources = scan_diabetic_retinopathy(source, files, Leniency()).sources
    by_number = {}
    for name, row in zip(names, sources, strict=True):
        by_number.setdefault(row.patient, set()).add(name.split("_")[0])
    assert {len(patients) for patients in by_number.values()} == {1}
    assert len(by_number) == len({patient for patient, _ in photographs})


def test_borders_are_cut_if_asked(tmp_path):
    source = eyes(tmp_path / "kaggle", 2)
    prepared(source, tmp_path / "plain", size_px=None)
    prepared(source, tmp_path / "cut", size_px=None, crop_borders=True)
    with Image.open(tmp_path / "plain" / "images" / "0000001.png") as picture:
        assert picture.size == (60, 40)
    with Image.open(tmp_path / "cut" / "images" / "0000001.png") as picture:
        assert picture.size == (32, 24)
    with pytest.raises(StorageError):  # a finished set
        prepared(source, tmp_path / "cut", size_px=None)


def test_a_black_photograph_is_told_where_borders_are_cut(tmp_path):
    source = eyes(tmp_path / "kaggle", 2)
    Image.new("RGB", (60, 40)).save(source / "train" / "10_right.jpeg")
    prepared(source, tmp_path / "plain")
    message = refused(source, tmp_path / "set", crop_borders=True)
    assert "photographs, file 2 in name order: expected a picture with something bright" in message
    lenient = Leniency(leave_out_unreadable=True)
    _, rows = prepared(source, tmp_path / "other", lenient, crop_borders=True)
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("10_left,0", "10_left,5", "line 2: expected a level from 0 to 4"),
        ("10_left,0", "10_left,", "line 2: expected a level from 0 to 4"),
        ("10_left,0", "10,0", "line 2: expected PATIENT_left or PATIENT_right"),
        ("10_left,0", "10_both,0", "line 2: expected PATIENT_left or PATIENT_right"),
        ("10_left,0", "10_right,0", "line 3: expected each image once, found one also in line 2"),
        ("level", "grade", "one column called 'level', found none"),
    ],
)
def test_a_table_that_is_wrong_is_refused(tmp_path, old, new, words):
    source = eyes(tmp_path / "kaggle")
    edit(source / TABLE, old, new)
    assert words in refused(source, tmp_path / "set")


def test_missing_unlabelled_and_truncated_photographs(tmp_path):
    source = eyes(tmp_path / "kaggle")
    (source / "train" / "10_left.jpeg").rename(source / "train" / "999_left.jpeg")
    assert "line 2: expected the picture that each line labels" in refused(source, tmp_path / "s")
    lenient = Leniency(allow_missing=True)
    scan, rows = prepared(source, tmp_path / "set", lenient)
    assert (scan.matched.missing, scan.matched.unlabelled, len(rows)) == (1, 1, 19)
    path = source / "train" / "10_right.jpeg"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(DataError, match="file 1 in name order: expected a whole PNG, JPEG"):
        prepared(source, tmp_path / "other", lenient)


def test_photographs_may_lie_beside_the_table_and_must_be_somewhere(tmp_path):
    source = eyes(tmp_path / "kaggle")
    (source / "train").rename(source / "photographs")
    assert len(prepared(source, tmp_path / "set")[1]) == 20
    (source / "copies").mkdir()
    path = source / "photographs" / "10_left.jpeg"
    (source / "copies" / "10_left.jpeg").write_bytes(path.read_bytes())
    assert "expected each name once, found 1 that come twice" in refused(source, tmp_path / "x")
    (source / TABLE).unlink()
    assert f"no {TABLE}" in refused(source, tmp_path / "other", StorageError)


def test_an_unfinished_set_does_not_go_on_with_other_photographs(tmp_path):
    source = eyes(tmp_path / "eyes")
    (source / "train" / "13_left.jpeg").write_bytes(b"")
    refused(source, tmp_path / "set")
    assert "expected a whole PNG" in refused(source, tmp_path / "set")  # the same, again
    (source / "train" / "10_right.jpeg").replace(source / "train" / "10_left.jpeg")
    edit(source / TABLE, "10_right,1\n", "")
    message = refused(source, tmp_path / "set", StorageError)
    assert "an unfinished set of other files or labels" in message
