"""Which images `--data`, `--split`, `--rows` and `--test` mean."""

import numpy as np
import pytest
from PIL import Image

from envoi.cli.images import Permissions, read_data_set, read_images
from envoi.errors import DataError, SettingsError
from envoi.study import study_from
from envoi.types import ImageSpec

STUDY = study_from(
    {
        "name": "Cells",
        "classes": ["a", "b"],
        "image": {"channels": 1, "size_px": 8},
        "model": {"architectures": ["resnet10-small"]},
    }
)
COUNT = 20


def values(images):
    """The number that each picture bears as its grey value."""
    return images.images[:, 0, 0, 0].tolist()


@pytest.fixture
def table(tmp_path):
    """Writes a table of numbered pictures with labels b, a, b, ..."""

    def table(count=COUNT, **columns):
        lines = [",".join(["path", "label", *columns])]
        for number in range(count):
            Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
            own = [choose(number) for choose in columns.values()]
            lines.append(",".join([f"{number}.png", "ba"[number % 2], *own]))
        (tmp_path / "list.csv").write_text("\n".join(lines))
        return tmp_path / "list.csv"

    return table


@pytest.fixture
def folder(tmp_path):
    for number in range(COUNT):
        place = tmp_path / "pictures" / "ab"[number >= 10]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(place / f"{number:02}.png")
    return tmp_path / "pictures"


def numbered(tmp_path, *numbers):
    file = tmp_path / "rows.txt"
    file.write_text("\n".join(str(number) for number in numbers))
    return file


def test_rows_of_a_table_are_its_lines(table, tmp_path):
    images = read_images(table(), study=STUDY, rows=numbered(tmp_path, 5, 0, 19))
    assert values(images) == [5, 0, 19]
    assert images.labels.tolist() == [0, 1, 0]


def test_rows_of_a_folder_are_in_the_order_of_its_files(folder, tmp_path):
    images = read_images(folder, study=STUDY, rows=numbered(tmp_path, 11, 3))
    assert (values(images), images.labels.tolist()) == ([11, 3], [1, 0])


def test_rows_of_a_part_are_in_file_order_too(table, tmp_path):
    file = table(split=lambda number: ("test", "train", "val")[number % 3])
    assert values(read_images(file, study=STUDY)) == list(range(1, COUNT, 3))
    rows = numbered(tmp_path, 2, 0)
    assert values(read_images(file, study=STUDY, rows=rows)) == [7, 1]
    assert values(read_images(file, study=STUDY, rows=rows, split="test")) == [6, 0]
    assert values(read_images(file, study=STUDY, rows=rows, split="all")) == [2, 0]


@pytest.mark.parametrize("own", ["train", "test"])
def test_data_without_parts_is_taken_whole(table, folder, own):
    for path in (table(), folder):
        assert values(read_images(path, study=STUDY, own=own)) == list(range(COUNT))


def test_the_part_that_is_meant_is_taken_where_there_are_parts(table):
    file = table(split=lambda number: "test" if number < 4 else "train")
    assert values(read_images(file, study=STUDY, own="test")) == [0, 1, 2, 3]
    alone = table(split=lambda _: "test")
    assert len(read_images(alone, study=STUDY, own="test")) == COUNT
    with pytest.raises(DataError, match="expected a part called train, found none"):
        read_images(alone, study=STUDY)


def test_a_part_that_the_data_has_not_is_split_off_when_asked_for(table):
    parts = [read_images(table(), study=STUDY, split=part) for part in ("train", "test")]
    assert [len(part) for part in parts] == [14, 4]
    assert values(parts[1]) == sorted(values(parts[1]))


def test_one_patient_and_one_image_are_read(table):
    images = read_images(table(patient=lambda _: "p"), study=STUDY)
    assert len(images) == COUNT
    assert len(read_images(table(1), study=STUDY)) == 1


def npz(path, **changes):
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = np.zeros(changes.get("shape", (4, 8, 8)), np.uint8)
        arrays[f"{part}_labels"] = np.arange(4) % 2
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("shape", [(4, 8, 8, 3), (4, 10, 10)])
def test_images_of_an_archive_that_do_not_fit_the_study_are_refused(tmp_path, shape):
    path = npz(tmp_path / "set.npz", shape=shape)
    with pytest.raises(DataError, match="images of 1 channels and 8 pixels, as the study says"):
        read_images(path, study=STUDY, own="test")
    assert len(read_images(npz(tmp_path / "set.npz"), study=STUDY, own="test")) == 4
    assert len(read_images(npz(tmp_path / "set.npz"), study=STUDY, split="all")) == 12


def test_a_table_becomes_a_data_set_with_its_sites(table):
    file = table(site=lambda number: "xy"[number % 2], patient=lambda number: f"p{number // 2}")
    data = read_data_set(file, ImageSpec.of(3, 6), Permissions(fit="resize", convert=True))
    assert data.train.images.shape[1:] == (3, 6, 6)
    assert set(data.train.sites) == {"x", "y"}
    assert not set(data.train.patients) & set(data.test.patients)


def test_what_is_no_picture_set_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="expected images, found nothing"):
        read_data_set(tmp_path / "nowhere", ImageSpec.of(1, 8), Permissions())
