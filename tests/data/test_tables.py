import csv

import numpy as np
import pytest
from PIL import Image

from envoi.data import Columns, Reading, SplitPlan, list_table, load_table
from envoi.errors import DataError, EnvoiWarning, StorageError
from envoi.types import ImageSpec

SPEC = ImageSpec.of(1, 8)
SECRET = "Mustermann"


def picture(path, value=0, size=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (size, size), value).save(path)


@pytest.fixture
def write(tmp_path):
    """Writes labels.csv, and a picture for each row whose value is the number of the row."""

    def write(header, rows):
        folder = tmp_path / "set"
        for number, row in enumerate(rows):
            picture(folder / row[0], number)
        folder.mkdir(exist_ok=True)
        with (folder / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return folder / "labels.csv"

    return write


@pytest.fixture
def refused(tmp_path):
    """The message about a table, which names nobody."""

    def refused(path, spec=SPEC, **options):
        with pytest.raises(DataError) as caught:
            load_table(path, spec=spec, **options)
        assert SECRET not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
        return str(caught.value)

    return refused


def chest():
    """The form of a set with parts and hospitals: path, label, split, site."""
    return [
        [f"{site}/{split}/{label}/{number}.png", label, split, site]
        for split, count in (("test", 2), ("train", 3), ("val", 1))
        for site in ("kermany", "nih")
        for label in ("normal", "pneumonia")
        for number in range(count)
    ]


def fundus(patients=12):
    """The form of a set with patients and no parts: path, label, patient."""
    grades = ("no_dr", "mild", "severe")
    return [
        [f"{grades[p % 3]}/{SECRET}{p:03}_{eye}.png", grades[p % 3], f"{SECRET}{p:03}"]
        for p in range(patients)
        for eye in "LR"
    ]


def test_parts_and_sites_of_a_table_are_kept(write):
    rows = chest()
    data = load_table(write(["path", "label", "split", "site"], rows), spec=SPEC)
    assert data.train.class_names == ("normal", "pneumonia")
    assert data.validation is not None
    sizes = [part.class_counts for part in (data.train, data.validation, data.test)]
    assert sizes == [(6, 6), (2, 2), (4, 4)]
    assert data.train.patients is None
    for part, name in ((data.train, "train"), (data.validation, "val"), (data.test, "test")):
        own = [(row[1], row[3]) for row in rows if row[2] == name]
        assert part.sites is not None
        assert part.sites.tolist() == [site for _, site in own]
        assert [part.class_names[label] for label in part.labels] == [label for label, _ in own]
        found = part.images[:, 0, 0, 0].tolist()
        assert found == [number for number, row in enumerate(rows) if row[2] == name]


def test_patients_are_kept_whole_when_there_are_no_parts(write):
    rows = fundus()
    data = load_table(write(["path", "label", "patient"], rows), spec=SPEC)
    parts = [part for part in (data.train, data.validation, data.test) if part is not None]
    groups = [set(part.patients.tolist()) for part in parts]
    assert sum(len(group) for group in groups) == len(set.union(*groups)) == 12
    codes = {}
    for part in parts:
        for value, code, label in zip(
            part.images[:, 0, 0, 0], part.patients, part.labels, strict=True
        ):
            row = rows[value]
            assert part.class_names[label] == row[1]
            assert codes.setdefault(row[2], code) == code
    assert len(set(codes.values())) == 12


def test_without_patients_and_parts_the_split_is_seeded_and_stratified(write):
    path = write(["path", "label"], [[f"{n}.png", "ab"[n % 2]] for n in range(40)])
    found = [load_table(path, spec=SPEC, split=SplitPlan(seed=seed)) for seed in (1, 1, 2)]
    assert found[0].test.class_counts == (4, 4)
    tests = [data.test.images[:, 0, 0, 0].tolist() for data in found]
    assert tests[0] == tests[1] != tests[2]


def test_labels_by_number_and_by_name_of_the_study(write):
    numbered = write(["path", "label"], [[f"{n}.png", str(n % 3)] for n in range(12)])
    assert load_table(numbered, spec=SPEC).train.class_names == ("0", "1", "2")
    names = ("x", "y", "z", "absent")
    data = load_table(numbered, spec=SPEC, class_names=names)
    assert data.train.class_names == names
    assert data.train.class_counts[3] == 0
    named = write(["path", "label"], [[f"{n}.png", "zyx"[n % 3]] for n in range(12)])
    data = load_table(named, spec=SPEC, class_names=names)
    for value, label in zip(data.train.images[:, 0, 0, 0], data.train.labels, strict=True):
        assert names[label] == "zyx"[value % 3]


def test_class_names_that_are_numbers_win_over_positions(write):
    path = write(["path", "label"], [[f"{n}.png", str(n % 2)] for n in range(12)])
    data = load_table(path, spec=SPEC, class_names=("1", "0"))
    for value, label in zip(data.train.images[:, 0, 0, 0], data.train.labels, strict=True):
        assert label == 1 - value % 2


def test_columns_may_have_other_names(write):
    header = ["file", "grade", "case_id", "fold", "centre"]
    rows = [[f"{n}.png", "ab"[n % 2], f"p{n}", ("train", "test")[n > 7], "x"] for n in range(12)]
    columns = Columns(path="file", label="grade", patient="case_id", split="fold", site="centre")
    data = load_table(write(header, rows), spec=SPEC, columns=columns)
    assert len(data.train) == 8
    assert data.train.patients is not None
    assert data.train.sites is not None


def test_a_column_that_looks_like_patients_is_warned_of(write):
    rows = [[f"{n}.png", "ab"[n % 2], f"p{n}"] for n in range(12)]
    with pytest.warns(EnvoiWarning, match=r"--column patient=patient_id \(in Python"):
        data = load_table(write(["path", "label", "patient_id"], rows), spec=SPEC)
    assert data.train.patients is None


def test_byte_order_mark_quotes_and_blank_lines_are_fine(write):
    path = write(["path", "label"], [[f"{n}.png", "a, b" if n % 2 else "c"] for n in range(8)])
    path.write_text("\ufeff" + path.read_text().replace("\n", "\n\n"), encoding="utf-8")
    assert load_table(path, spec=SPEC).train.class_names == ("a, b", "c")


def test_pictures_may_lie_below_another_root(write, tmp_path):
    path = write(["path", "label"], [[f"{n}.png", "ab"[n % 2]] for n in range(8)])
    elsewhere = tmp_path / "labels.csv"
    elsewhere.write_text(path.read_text())
    assert len(load_table(elsewhere, spec=SPEC, root=path.parent).train) > 0
    absolute = path.read_text().splitlines()
    absolute[1:] = [str(path.parent / line) for line in absolute[1:]]
    elsewhere.write_text("\n".join(absolute))
    assert len(load_table(elsewhere, spec=SPEC, root=path.parent).train) > 0


@pytest.mark.parametrize("text", ["../set2/x.png", "/etc/hostname", "a/../../x.png"])
def test_paths_that_leave_the_root_are_refused(write, refused, text):
    path = write(["path", "label"], [[f"{n}.png", "ab"[n % 2]] for n in range(8)])
    path.write_text(path.read_text().replace("3.png", text))
    message = refused(path)
    assert "table, line 5: expected a path below the root folder, found one outside" in message
    assert text not in message


def test_paths_that_stay_within_are_fine(write):
    path = write(["path", "label"], [[f"{n}.png", "ab"[n % 2]] for n in range(8)])
    path.write_text(path.read_text().replace("3.png", "a/../3.png"))
    assert len(load_table(path, spec=SPEC).train) == 6


@pytest.mark.parametrize("again", ["3.png", "./3.png", "x/../3.png"])
def test_a_picture_that_comes_twice_is_refused(write, refused, again):
    path = write(["path", "label"], [[f"{n}.png", "ab"[n % 2]] for n in range(8)])
    path.write_text(path.read_text() + f"{again},a\n")
    assert "table, line 10: expected each file once, found the file of line 5" in refused(path)


def test_a_patient_in_two_parts_is_refused(write, refused):
    rows = [[f"{n}.png", "ab"[n % 2], SECRET + "ABCABCAB"[n], "train"] for n in range(8)]
    rows[4][3] = rows[7][3] = "test"
    message = refused(write(["path", "label", "patient", "split"], rows))
    assert "table, lines 6 and 9: expected each patient in one part" in message
    assert "found one also in the part of line 3. " in message


def test_all_pictures_of_one_patient_are_refused(write, refused):
    rows = [[f"{n}.png", "ab"[n % 2], SECRET] for n in range(8)]
    message = refused(write(["path", "label", "patient"], rows))
    assert "at least two patients, since splits are disjoint by patient" in message


def test_unknown_parts_and_missing_ones_are_refused(write, refused):
    rows = [[f"{n}.png", "ab"[n % 2], "train"] for n in range(8)]
    rows[2][2] = "Test"
    message = refused(write(["path", "label", "split"], rows))
    assert "line 4: expected one of train, val, validation, test, found another word" in message
    assert "table, part test: expected rows to train on and to test on, found none" in message


def test_unknown_labels_are_refused_by_line(write, refused):
    rows = [[f"{n}.png", "ab"[n % 2]] for n in range(8)]
    rows[5][1] = SECRET
    path = write(["path", "label"], rows)
    message = refused(path, class_names=("a", "b"))
    assert "table, line 7: expected a label among a, b, found another" in message


def test_a_number_outside_the_classes_is_refused(write, refused):
    path = write(["path", "label"], [[f"{n}.png", str(n % 3)] for n in range(8)])
    assert "table, lines 4 and 7: expected a label among x, y" in refused(
        path, class_names=("x", "y")
    )


def test_gaps_in_numbered_labels_are_empty_classes(write, refused):
    path = write(["path", "label"], [[f"{n}.png", "013"[n % 3]] for n in range(9)])
    assert "class '2': expected at least one picture, found none" in refused(path)


@pytest.mark.parametrize("digits", [5, 30, 5000])
def test_a_stray_huge_number_is_refused(write, refused, digits):
    rows = [[f"{n}.png", "01"[n % 2]] for n in range(8)]
    rows[3][1] = "9" * digits
    assert "table, line 5: expected a label among 0, 1" in refused(write(["path", "label"], rows))


def test_one_class_is_refused(write, refused):
    path = write(["path", "label"], [[f"{n}.png", "a"] for n in range(8)])
    assert "expected at least two classes, found 1" in refused(path)


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        (["file", "label"], Columns(), "one column called 'path', found none among 2"),
        (["path", "label;x"], Columns(), "one column called 'label', found none among 2"),
        (["path", "path"], Columns(), "one column called 'path', found 2 among 2"),
        (["path", "label"], Columns(patient="id"), "one column called 'id', found none among 2"),
    ],
)
def test_columns_that_are_not_there_once_are_refused(write, refused, header, columns, message):
    path = write(header, [[f"{n}.png", "ab"[n % 2]] for n in range(8)])
    told = refused(path, columns=columns)
    assert message in told
    assert "=NAME (in Python: Columns(" in told


def test_a_table_without_header_shows_nothing_of_its_first_row(write, refused):
    rows = [[f"{SECRET}{n}.png", "ab"[n % 2]] for n in range(8)]
    assert "one column called 'path'" in refused(write(rows[0], rows[1:]))


def test_ragged_lines_and_empty_cells_are_refused(write, refused):
    path = write(["path", "label", "patient"], fundus())
    lines = path.read_text().splitlines()
    lines[2] += ",more"
    lines[4] = lines[4].rpartition(",")[0] + ","
    lines[5] = lines[5] + " "
    path.write_text("\n".join(lines))
    message = refused(path)
    assert "table, line 3: expected 3 cells, found 4. " in message
    assert "expected a value, found nothing or spaces around it" in message
    assert "table, lines 5 and 6" in message


@pytest.mark.parametrize("text", ["", "path,label\n", "\n\n"])
def test_tables_without_rows_are_refused(write, refused, text):
    path = write(["path", "label"], [["a.png", "a"]])
    path.write_text(text)
    assert "expected a header and at least one row" in refused(path)


def test_open_quotes_are_refused(write, refused):
    path = write(["path", "label"], [["a.png", "a"]])
    path.write_text(f'path,label\n"{SECRET}.png" x,a\n')
    assert "table, line 2: expected cells as RFC 4180 has them" in refused(path)


def test_missing_tables_and_other_encodings_are_storage_errors(tmp_path):
    with pytest.raises(StorageError, match="none.csv: expected a table of images"):
        load_table(tmp_path / "none.csv", spec=SPEC)
    (tmp_path / "latin.csv").write_bytes("path,label\nä.png,a\n".encode("latin-1"))
    with pytest.raises(StorageError, match="found bytes that are not UTF-8"):
        load_table(tmp_path / "latin.csv", spec=SPEC)


def test_missing_and_wrong_pictures_are_told_by_line_together(write, refused):
    path = write(["path", "label"], [[f"{n}.png", "ab"[n % 2]] for n in range(8)])
    (path.parent / "2.png").unlink()
    picture(path.parent / "5.png", size=9)
    message = refused(path)
    assert "table, line 4: expected a file, found nothing" in message
    assert "table, line 7: expected 8 x 8 pixels, found 9 x 9" in message


def test_fit_is_passed_on(write, refused):
    path = write(["path", "label"], [[f"{n}.png", "ab"[n % 2]] for n in range(8)])
    spec = ImageSpec.of(3, 4)
    message = refused(path, spec=spec)
    assert "--fit resize or --fit crop (in Python: fit='resize' or fit='crop')" in message
    assert "--allow-channel-conversion (in Python: allow_channel_conversion=True)" in message
    reading = Reading(fit="crop", allow_channel_conversion=True)
    data = load_table(path, spec=spec, reading=reading)
    assert data.train.images.shape[1:] == (3, 4, 4)
    assert data.train.images.dtype == np.uint8


def test_a_listing_keeps_the_order_of_the_rows_whatever_their_parts(write):
    rows = [[f"{n}.png", "ba"[n % 2], ("test", "train")[n % 3 > 0]] for n in range(12)]
    listing = list_table(write(["path", "label", "split"], rows), spec=SPEC)
    everything = listing.read(np.arange(len(listing)))
    assert everything.images[:, 0, 0, 0].tolist() == list(range(12))
    assert [everything.class_names[label] for label in everything.labels] == [r[1] for r in rows]
    assert listing.rows("test").tolist() == [0, 3, 6, 9]
    assert not len(listing.rows("validation"))


def test_a_listing_of_one_patient_or_one_row_is_read_and_not_split(write):
    rows = [[f"{n}.png", "ab"[n % 2], SECRET] for n in range(4)]
    listing = list_table(write(["path", "label", "patient"], rows), spec=SPEC)
    assert listing.read(np.arange(4)).patients.tolist() == [0] * 4
    with pytest.raises(DataError, match="at least two patients"):
        listing.rows("test")
    alone = list_table(write(["path", "label"], [rows[0][:2]]), spec=SPEC, class_names=("a", "b"))
    assert len(alone.read(np.arange(1))) == 1


def test_only_the_pictures_that_are_asked_for_are_opened(write):
    path = write(["path", "label"], [[f"{n}.png", "ab"[n % 2]] for n in range(8)])
    (path.parent / "2.png").unlink()
    listing = list_table(path, spec=SPEC)
    assert listing.read(np.array([3, 1])).images[:, 0, 0, 0].tolist() == [3, 1]
    with pytest.raises(DataError, match="table, line 4: expected a file, found nothing"):
        listing.read(np.arange(8))


def test_a_table_of_test_images_alone_is_listed(write):
    rows = [[f"{n}.png", "ab"[n % 2], "test"] for n in range(4)]
    listing = list_table(write(["path", "label", "split"], rows), spec=SPEC)
    assert listing.rows("test").tolist() == [0, 1, 2, 3]
