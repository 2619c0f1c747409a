"""`envoi data prepare`, as a site engineer calls it."""

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from envoi.cli import app
from envoi.data import load_table
from envoi.data.dicom.pseudonyms import new_pseudonym_key
from envoi.types import ImageSpec
from tests.data.dicom.files import SECRET, dicom

runner = CliRunner()


def prepared(*words):
    return runner.invoke(app, ["data", "prepare", *map(str, words)])


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of ten 12-bit images of five patients, and labels by their UIDs."""
    monkeypatch.chdir(tmp_path)
    key = new_pseudonym_key(tmp_path / "key")
    draws = np.random.default_rng(0)
    lines = ["SOPInstanceUID,label"]
    for folder, rename in (("images", str), ("pulled", key.uid)):
        for number in range(10):
            pixels = draws.integers(0, 4096, (12, 9), np.uint16)
            file = dicom(pixels, uid=rename(f"1.5.{number}"), BitsStored=12)
            file.PatientID = f"{SECRET}{number // 2}"
            path = tmp_path / folder / f"{SECRET}{number}.dcm"
            path.parent.mkdir(exist_ok=True)
            file.save_as(path, enforce_file_format=True)
    lines += [f"1.5.{number},{'ab'[number % 2]}" for number in range(10)]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_a_folder_becomes_a_set_that_is_split_by_patient(place):
    words = ("dicom", "images", "--labels", "labels.csv", "--out", "set", "--size", "8")
    done = prepared(*words, "--window", "stored")
    assert done.exit_code == 0, done.output
    assert (
        "Wrote set: 10 images of 5 patients, and labels.csv.\n2 classes: a 5, b 5.\n" in done.output
    )
    assert "warning" not in done.output
    assert "Passed over" not in done.output
    assert done.output.endswith(
        "Next: envoi site train --study study.toml --site SITE --work WORK --data set\n"
    )
    assert SECRET not in done.output
    data = load_table(place / "set" / "labels.csv", spec=ImageSpec.of(1, 8))
    assert not set(data.train.patients) & set(data.test.patients)


def test_pulled_files_are_found_by_the_key(place):
    words = ("dicom", "pulled", "--labels", "labels.csv", "--out", "set", "--window", "stored")
    refused = prepared(*words)
    assert refused.exit_code == 3
    assert "labels, lines 2, 3, 4, 5, 6 and 5 more: expected files of" in refused.output
    assert prepared(*words, "--pseudonyms", "key").exit_code == 0


def test_a_key_that_is_another_is_not_asked_for_again(place):
    new_pseudonym_key(place / "other")
    words = ("dicom", "pulled", "--labels", "labels.csv", "--out", "set", "--window", "stored")
    refused = prepared(*words, "--pseudonyms", "other")
    assert refused.exit_code == 3
    assert "Give the key of the pull with --pseudonyms: the one given is another" in refused.output
    assert "give their key" not in refused.output


def test_what_is_passed_over_is_told(place):
    table = (place / "labels.csv").read_text().splitlines()
    (place / "labels.csv").write_text("\n".join(table[:2]))
    (place / "images" / "notes.txt").write_text(SECRET)
    words = ("dicom", "images", "--labels", "labels.csv", "--window", "stored")
    done = prepared(*words, "--out", "set")
    assert "Passed over 1 file that is no DICOM.\n" in done.output
    assert "Passed over 9 DICOM files that the table does not name.\n" in done.output
    assert "Wrote set: 1 image of 1 patient, and labels.csv.\n1 class: a 1.\n" in done.output
    (place / "images" / "more").write_text("")
    assert "Passed over 2 files that are no DICOM.\n" in prepared(*words, "--out", "more").output


def test_classes_that_look_alike_are_warned_of(place):
    table = (place / "labels.csv").read_text().replace(",a", ",Normal").replace(",b", ",tumour")
    (place / "labels.csv").write_text(table.replace("1.5.2,Normal", "1.5.2,normal"))
    words = ("dicom", "images", "--labels", "labels.csv", "--out", "set", "--window", "stored")
    done = prepared(*words)
    assert done.exit_code == 0
    assert "3 classes: Normal 4, normal 1, tumour 5.\n" in done.output
    assert "warning: the classes 'Normal' and 'normal' differ only in case, in" in done.output
    assert "tumour'" not in done.output


def test_a_table_in_another_encoding_is_told_how_to_be_saved(place):
    table = (place / "labels.csv").read_text().replace(",a", ",Gef\xe4\xdf")
    (place / "labels.csv").write_bytes(table.encode("latin-1"))
    refused = prepared("dicom", "images", "--labels", "labels.csv", "--out", "set")
    assert refused.exit_code == 3
    assert "found bytes that are not UTF-8. Save it as UTF-8 (in a spreadsheet" in refused.output


def test_two_people_under_one_number_are_one_patient_by_permission(place):
    file = dicom(np.zeros((12, 9), np.uint8), uid="1.5.0", PatientName="Other")
    file.PatientID = f"{SECRET}0"
    file.save_as(place / "images" / f"{SECRET}0.dcm", enforce_file_format=True)
    words = ("dicom", "images", "--labels", "labels.csv", "--out", "set", "--window", "stored")
    refused = prepared(*words)
    assert refused.exit_code == 3
    assert "found two people, by name." in refused.output
    assert SECRET not in refused.output
    done = prepared(*words, "--allow-shared-ids")
    assert "10 images of 5 patients" in done.output, done.output


def test_labels_of_what_a_pull_left_out_are_passed_over_by_permission(place):
    for number in (2, 7):
        (place / "pulled" / f"{SECRET}{number}.dcm").unlink()
    words = ("dicom", "pulled", "--labels", "labels.csv", "--out", "set", "--pseudonyms", "key")
    refused = prepared(*words, "--window", "stored")
    assert refused.exit_code == 3
    assert "labels, lines 4 and 9: expected files of what each line names" in refused.output
    assert "--allow-missing" in refused.output
    done = prepared(*words, "--window", "stored", "--allow-missing")
    assert done.exit_code == 0, done.output
    assert "Passed over 2 labels whose picture is not there." in done.output
    assert "Wrote set: 8 images of 5 patients" in done.output


def test_files_with_problems_are_listed_for_who_asks(place):
    words = ("dicom", "images", "--labels", "labels.csv", "--out", "set")
    refused = prepared(*words, "--list-problems", "wrong.csv")
    assert refused.exit_code == 3
    assert SECRET not in refused.output
    with (place / "wrong.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {f"images/{SECRET}{number}.dcm" for number in range(10)}
    assert rows[3]["place"] == "DICOM folder, file 4 in name order"
    assert (place / "wrong.csv").stat().st_mode & 0o777 == 0o600
    assert prepared(*words, "--window", "stored", "--list-problems", "wrong.csv").exit_code == 0
    assert len((place / "wrong.csv").read_text().splitlines()) == 1


def test_a_list_of_problems_takes_the_place_of_no_other_file(place):
    table = (place / "labels.csv").read_text()
    words = ("dicom", "images", "--labels", "labels.csv", "--out", "set")
    refused = prepared(*words, "--list-problems", "labels.csv")
    assert "labels.csv: expected a new file, found one of another kind" in refused.output
    assert (place / "labels.csv").read_text() == table


@pytest.mark.parametrize(
    ("out", "found"),
    [
        ("images", "that folder"),
        ("pulled/../images", "that folder"),
        ("images/set", "one inside it"),
        (".", "one that holds it"),
    ],
)
def test_a_set_is_never_written_among_its_files(place, out, found):
    before = sorted(place.rglob("*"))
    refused = prepared("dicom", "images", "--labels", "labels.csv", "--out", out)
    assert refused.exit_code == 2
    assert f"--out: expected a folder apart from that of the files, found {found}. Give a new" in (
        refused.output
    )
    assert "remove" not in refused.output
    assert sorted(place.rglob("*")) == before


def test_nobody_is_told_to_remove_a_folder_of_other_files(place):
    refused = prepared(
        *("dicom", "images", "--labels", "labels.csv", "--out", "pulled", "--window", "stored")
    )
    assert "pulled: expected a folder that is new, found other files. Give another --out." in (
        refused.output
    )
    assert "remove" not in refused.output


def test_what_is_missing_is_said_and_nothing_is_written(place):
    refused = prepared("dicom", "images", "--labels", "labels.csv", "--out", "set")
    assert refused.exit_code == 3
    assert "expected one window or VOI table in the file, found none" in refused.output
    assert "--window CENTRE,WIDTH" in refused.output
    assert not (place / "set").exists()
    for option in ("--frames", "--polarity"):
        odd = prepared("dicom", "images", "--labels", "labels.csv", "--out", "x", option, "2")
        assert odd.exit_code == 2
    assert not (place / "x").exists()
