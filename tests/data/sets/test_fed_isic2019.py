"""Fed-ISIC2019 from files in the form of ISIC, HAM10000 and FLamby."""

import csv
import warnings

import numpy as np
import pytest
from PIL import Image

from envoi.data import Reading, load_table
from envoi.data.prepared import Pictures
from envoi.data.sets.colour_constancy import shades_of_grey
from envoi.data.sets.fed_isic2019 import (
    ENDINGS,
    IsicPlan,
    pictures_place,
    scan_fed_isic2019,
)
from envoi.data.sets.source import Leniency, pictures_in, write_scan
from envoi.errors import DataError, EnvoiWarning, SettingsError, StorageError
from envoi.types import ImageSpec
from tests.data.sets.packed import edit, isic, lesion_of, photograph, zip_up

COUNT = 48
CENTRES = ("bcn", "vidir-molemax", "vidir-modern", "rosendahl", "msk", "vienna-dias")
CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")


def prepared(source, out, leniency=None, **plan):
    leniency = leniency or Leniency()
    with pictures_in(pictures_place(source), ENDINGS, what="photographs", remedy="-") as files:
        scan = scan_fed_isic2019(source, files, leniency, IsicPlan(**{"shorter_px": 16, **plan}))
        write_scan(out, scan, Pictures(), leniency)
    with (out / "labels.csv").open() as file:
        return scan, list(csv.DictReader(file))


def refused(source, out, kind=DataError, **plan):
    with pytest.raises(kind) as caught:
        prepared(source, out, **plan)
    assert "ISIC_0" not in str(caught.value)
    assert "HAM_0" not in str(caught.value)
    assert not (out / "labels.csv").exists()
    return str(caught.value)


def test_labels_centres_lesions_and_parts_are_those_of_the_tables(tmp_path):
    scan, rows = prepared(isic(tmp_path / "isic"), tmp_path / "set")
    assert scan.matched.unlabelled == 1  # the image of no known lesion
    assert len(rows) == COUNT
    for number, row in enumerate(rows):
        assert row["site"] == CENTRES[lesion_of(number)[0]]
        assert row["label"] == CLASSES[number // 2 % 8]
        assert row["patient"] == str(number // 2)
        assert row["split"] == ("test" if number // 2 % 4 == 0 else "train")
    text = "".join(path.read_text() for path in (tmp_path / "set").glob("*.*"))
    assert "ISIC_0" not in text
    assert "HAM_" not in text


def test_pictures_are_scaled_by_the_shorter_side_and_their_light_is_white(tmp_path):
    source = isic(tmp_path / "isic")
    prepared(source, tmp_path / "set")
    name = "ISIC_0000003"
    with Image.open(source / "ISIC_2019_Training_Input" / f"{name}.jpg") as original:
        scaled = original.resize((24, 16), Image.Resampling.BILINEAR)
    with Image.open(tmp_path / "set" / "images" / "0000004.png") as picture:
        assert np.array_equal(np.asarray(picture), shades_of_grey(np.asarray(scaled)))
    prepared(source, tmp_path / "plain", colour_constancy=False)
    with Image.open(tmp_path / "plain" / "images" / "0000004.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(scaled))


@pytest.mark.parametrize("size", [(450, 600), (55, 71), (95, 120), (17, 301)])
def test_the_shorter_side_is_exactly_as_told(tmp_path, size):
    source = isic(tmp_path / "isic", 4)
    photograph(0, size).save(source / "ISIC_2019_Training_Input" / "ISIC_0000001.jpg")
    prepared(source, tmp_path / "set", shorter_px=224)
    with Image.open(tmp_path / "set" / "images" / "0000002.png") as picture:
        assert min(picture.size) == 224


def test_a_zip_file_gives_the_same_set(tmp_path):
    _, rows = prepared(isic(tmp_path / "folder"), tmp_path / "set")
    source = isic(tmp_path / "zipped", zipped=True)
    assert not (source / "ISIC_2019_Training_Input").exists()
    _, zipped = prepared(source, tmp_path / "other")
    assert zipped == rows
    for row in rows:
        one, other = (tmp_path / name / row["path"] for name in ("set", "other"))
        assert one.read_bytes() == other.read_bytes()


def test_a_set_is_read_by_every_command(tmp_path):
    prepared(isic(tmp_path / "isic"), tmp_path / "set")
    data = load_table(
        tmp_path / "set" / "labels.csv",
        spec=ImageSpec.of(3, 16),
        class_names=CLASSES,
        reading=Reading(fit="crop"),
    )
    assert set(data.train.sites) == set(CENTRES)
    assert not set(data.train.patients) & set(data.test.patients)


def test_divided_lesions_are_counted_and_the_set_does_not_name_them(tmp_path):
    source = isic(tmp_path / "isic", whole_lesions=False)
    with pytest.warns(EnvoiWarning, match=r"12 lesions \(24 images\) in training and test"):
        _, rows = prepared(source, tmp_path / "set")
    assert "patient" not in rows[0]
    load_table(
        tmp_path / "set" / "labels.csv", spec=ImageSpec.of(3, 16), reading=Reading(fit="crop")
    )


def scanned(source, **plan):
    """Site, patient and part of each image."""
    with pictures_in(pictures_place(source), ENDINGS, what="photographs", remedy="-") as files:
        scan = scan_fed_isic2019(source, files, Leniency(), IsicPlan(**plan))
    return [(row.site, row.patient, row.split) for row in scan.sources]


def test_a_split_by_lesion_divides_none(tmp_path):
    source = isic(tmp_path / "isic", 480, whole_lesions=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = scanned(source, split="lesion")
    parts = {}
    for _, patient, split in rows:
        parts.setdefault(patient, set()).add(split)
    assert len(parts) == 240
    assert {len(part) for part in parts.values()} == {1}
    tested = [row for row in rows if row[2] == "test"]
    assert 0.15 < len(tested) / 480 < 0.25
    assert {site for site, _, _ in tested} == set(CENTRES)
    assert {split for _, _, split in rows} == {"train", "test"}
    assert rows != scanned(source, split="lesion", seed=1)
    assert rows == scanned(source, split="lesion")


def test_without_ham10000_centres_are_taken_as_flamby_tells_them(tmp_path):
    _, rows = prepared(isic(tmp_path / "isic", ham=False), tmp_path / "set")
    assert {row["site"] for row in rows} == set(CENTRES)


@pytest.mark.parametrize(
    ("table", "old", "new", "words"),
    [
        ("train_test_split", "train_3", "test_3", "fold2 made of fold and center"),
        ("train_test_split", ",3,train,train_3", ",6,train,train_6", "a center from 0 to 5"),
        (
            "train_test_split",
            ",3,train,train_3",
            ",1,train,train_1",
            "the center that ISIC_2019_Tr",
        ),
        ("train_test_split", ",0.0,7,", ",0.0,8,", "a target from 0 to 7"),
        ("train_test_split", ",0.0,7,", ",0.0,6,", "the class that ISIC_2019_Training_GroundTruth"),
        ("train_test_split", "test,test_", "both,both_", "a fold train or test"),
        ("train_test_split", "ISIC_0000002,", "ISIC_0000003,", "found one also in line"),
        ("train_test_split", "ISIC_0000002,", "ISIC_8000000,", "found none"),
        ("train_test_split", "image,", "picture,", "one column called 'image'"),
        ("train_test_split", "train_3", "train_3,", "expected 14 cells, found 15"),
        (
            "ISIC_2019_Training_Metadata.csv",
            "BCN_0000000",
            "",
            "whose lesion ISIC_2019_Training_Me",
        ),
        ("ISIC_2019_Training_GroundTruth.csv", "ISIC_0000002,0.0", "ISIC_0000002,1.0", "the class"),
        ("HAM10000_metadata", "vidir_molemax", "rosendahl", "the center that"),
    ],
)
def test_tables_that_are_wrong_or_contradict_are_refused(tmp_path, table, old, new, words):
    source = isic(tmp_path / "isic")
    edit(source / table, old, new)
    assert words in refused(source, tmp_path / "set")


def test_everything_that_is_missing_is_said_at_once(tmp_path):
    source = isic(tmp_path / "isic")
    for name in ("train_test_split", "ISIC_2019_Training_Metadata.csv"):
        (source / name).unlink()
    message = refused(source, tmp_path / "set", StorageError)
    assert "found no train_test_split, no ISIC_2019_Training_Metadata.csv" in message
    assert "envoi data fetch fed-isic2019" in message
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no ISIC_2019_Training_Input.zip" in refused(empty, tmp_path / "set", StorageError)
    (empty / "ISIC_2019_Training_Input").mkdir()
    assert "a folder of .jpg files" in refused(empty, tmp_path / "set", StorageError)


def test_missing_photographs_are_refused_or_counted(tmp_path):
    source = isic(tmp_path / "isic")
    for number in (1, 2, 3, 4, 5, 6, 8, 9):
        (source / "ISIC_2019_Training_Input" / f"ISIC_{number:07}.jpg").unlink()
    message = refused(source, tmp_path / "set")
    assert "expected the picture that each line labels, found none" in message
    assert "and 3 more" in message
    assert "--allow-missing" in message
    scan, rows = prepared(source, tmp_path / "set", Leniency(allow_missing=True))
    assert scan.matched.missing == 8
    assert len(rows) == COUNT - 8


@pytest.mark.parametrize("zipped", [False, True])
def test_truncated_photographs_are_counted_and_not_named(tmp_path, zipped):
    source = isic(tmp_path / "isic")
    for number in (3, 8):
        path = source / "ISIC_2019_Training_Input" / f"ISIC_{number:07}.jpg"
        path.write_bytes(path.read_bytes()[:-300])
    if zipped:
        zip_up(source / "ISIC_2019_Training_Input")
    message = refused(source, tmp_path / "set")
    assert "files 4 and 9 in name order: expected a whole" in message
    _, rows = prepared(source, tmp_path / "other", Leniency(leave_out_unreadable=True))
    assert len(rows) == COUNT - 2
    assert "images/0000004.png" not in {row["path"] for row in rows}


def test_grey_photographs_and_damaged_zips_are_refused(tmp_path):
    source = isic(tmp_path / "isic", zipped=True)
    archive = source / "ISIC_2019_Training_Input.zip"
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    assert "expected a whole zip file" in refused(source, tmp_path / "set", StorageError)
    damaged = bytearray(content)
    damaged[2000:2100] = bytes(100)
    archive.write_bytes(damaged)
    assert "expected a whole" in refused(source, tmp_path / "set2")
    source = isic(tmp_path / "grey")
    photograph(0).convert("L").save(source / "ISIC_2019_Training_Input" / "ISIC_0000001.jpg")
    assert "file 2 in name order: expected a picture in colour" in refused(source, tmp_path / "g")


def test_an_interrupted_set_goes_on_and_another_folder_is_noticed(tmp_path):
    source = isic(tmp_path / "isic")
    leniency = Leniency()
    with pictures_in(pictures_place(source), ENDINGS, what="photographs", remedy="-") as files:
        scan = scan_fed_isic2019(source, files, leniency, IsicPlan(shorter_px=16))

        def stop(info):
            if info.step == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_scan(tmp_path / "set", scan, Pictures(), leniency, on_step=stop)
    first = tmp_path / "set" / "images" / "0000001.png"
    written = first.stat().st_mtime_ns
    _, rows = prepared(source, tmp_path / "set")
    assert len(rows) == COUNT
    assert first.stat().st_mtime_ns == written
    with pytest.raises(StorageError, match="a finished set"):
        prepared(source, tmp_path / "set")
    (tmp_path / "set" / "labels.csv").unlink()
    for path in (source / "ISIC_2019_Training_Input").glob("ISIC_000000[12].jpg"):
        path.rename(path.with_stem(path.stem.replace("ISIC_0", "ISIC_7")))
    for table in ("train_test_split", "ISIC_2019_Training_GroundTruth.csv"):
        edit(source / table, "ISIC_0000001", "ISIC_7000001")
        edit(source / table, "ISIC_0000002", "ISIC_7000002")
    for table in ("ISIC_2019_Training_Metadata.csv", "HAM10000_metadata"):
        text = (source / table).read_text().replace("ISIC_0000001", "ISIC_7000001")
        (source / table).write_text(text.replace("ISIC_0000002", "ISIC_7000002"))
    with pytest.raises(StorageError, match="an unfinished set of other files or labels"):
        prepared(source, tmp_path / "set")


def test_choices_are_checked():
    with pytest.raises(SettingsError, match="flamby or lesion"):
        IsicPlan(split="patient")
    with pytest.raises(SettingsError, match="1 or more"):
        IsicPlan(shorter_px=0)
