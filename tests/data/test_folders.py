import numpy as np
import pytest
from PIL import Image

from envoi.data import Reading, SplitPlan, list_folder, load_folder
from envoi.errors import DataError, StorageError
from envoi.types import ImageSpec

SPEC = ImageSpec.of(3, 8)
SECRET = "Mustermann_Erika_1964"


def save(path, value=100, size=(8, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 255 - value)).save(path)


def fill(folder, **counts):
    for name, count in counts.items():
        for number in range(count):
            save(folder / name / f"{SECRET}_{number:02}.png", value=number)


@pytest.fixture
def message(tmp_path):
    """All that `load_folder` has against the folder."""

    def message(**options):
        with pytest.raises(DataError) as caught:
            load_folder(tmp_path, spec=SPEC, **options)
        assert SECRET not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
        return str(caught.value)

    return message


def test_folder_without_parts_is_split_by_class(tmp_path):
    fill(tmp_path, nv=20, mel=10)
    data = load_folder(tmp_path, spec=SPEC)
    assert data.train.class_names == ("mel", "nv")
    assert data.validation is not None
    counts = [part.class_counts for part in (data.train, data.validation, data.test)]
    assert counts == [(7, 14), (1, 2), (2, 4)]
    values = np.concatenate([part.images[:, 0, 0, 0] for part in (data.train, data.test)])
    assert len(values) == 27
    assert data.train.patients is None


def test_split_is_seeded(tmp_path):
    fill(tmp_path, a=20, b=20)
    tests = [
        load_folder(tmp_path, spec=SPEC, split=SplitPlan(seed=seed)).test.images[:, 0, 0, 0]
        for seed in (1, 1, 2)
    ]
    assert tests[0].tolist() == tests[1].tolist() != tests[2].tolist()


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_parts_at_the_top_are_taken(tmp_path, validation):
    for part, count in (("train", 3), (validation, 1), ("test", 2)):
        fill(tmp_path / part, a=count, b=count + 1)
    data = load_folder(tmp_path, spec=SPEC)
    assert data.validation is not None
    assert data.train.class_counts == (3, 4)
    assert data.validation.class_counts == (1, 2)
    assert data.test.class_counts == (2, 3)
    assert data.train.images[:3, 0, 0, 0].tolist() == [0, 1, 2]


def test_parts_without_validation(tmp_path):
    fill(tmp_path / "train", a=2, b=2)
    fill(tmp_path / "test", b=1)
    data = load_folder(tmp_path, spec=SPEC)
    assert data.validation is None
    assert data.test.class_counts == (0, 1)


def test_order_of_the_study_holds_and_a_class_may_be_absent(tmp_path):
    fill(tmp_path, nv=4, mel=5)
    data = load_folder(tmp_path, spec=SPEC, class_names=("nv", "vasc", "mel"))
    assert data.train.class_names == ("nv", "vasc", "mel")
    assert data.train.class_counts[1] == data.test.class_counts[1] == 0
    assert sum(data.train.class_counts) + sum(data.test.class_counts) >= 7


def test_every_kind_of_file_is_read_and_litter_passed_over(tmp_path):
    for number, ending in enumerate(("png", "JPG", "jpeg", "tif", "TIFF", "bmp")):
        save(tmp_path / "a" / f"{number}.{ending}")
        save(tmp_path / "b" / f"{number}.{ending}")
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "a" / "Thumbs.db").touch()
    data = load_folder(tmp_path, spec=SPEC, split=SplitPlan(validation=0, test=0.5))
    assert data.train.class_counts == data.test.class_counts == (3, 3)


def test_links_to_folders_are_followed(tmp_path):
    fill(tmp_path / "store", a=3, b=3)
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in "ab":
        (linked / name).symlink_to(tmp_path / "store" / name)
    assert len(load_folder(linked, spec=SPEC).test) == 2


def test_reading_options_are_passed_on(tmp_path, message):
    for name in "ab":
        for number in range(3):
            save(tmp_path / name / f"{number}.png", size=(9, 12), mode="L")
    text = message()
    assert "fit='crop'" in text
    assert "allow_channel_conversion=True" in text
    options = Reading(fit="crop", allow_channel_conversion=True)
    assert load_folder(tmp_path, spec=SPEC, reading=options).train.images.shape[1:] == (3, 8, 8)


def test_bad_pictures_are_counted_and_not_named(tmp_path, message):
    fill(tmp_path, mel=20, nv=5)
    for number in range(2, 12):
        save(tmp_path / "mel" / f"{SECRET}_{number:02}.png", size=(9, 9))
    (tmp_path / "nv" / f"{SECRET}_01.png").write_bytes(b"broken")
    text = message(split=SplitPlan(validation=0, test=0.01))
    assert "class 'mel', files 3, 4, 5, 6, 7 and 5 more in name order" in text
    assert "and 5 more" in text
    assert "class 'nv', file 2 in name order (files are counted and not named" in text
    assert text.count("not named") == 2


def test_an_empty_class_is_named(tmp_path, message):
    fill(tmp_path, a=3, b=3)
    (tmp_path / "scar").mkdir()
    assert "class 'scar': expected at least one picture, found none" in message()


def test_one_class_is_refused(tmp_path, message):
    fill(tmp_path, a=3)
    assert "expected two class folders, found 1" in message()


def test_an_empty_folder_is_refused(message):
    assert "expected two class folders, found 0" in message()


def test_folders_of_other_classes_are_counted_and_not_named(tmp_path, message):
    fill(tmp_path, a=3, b=3)
    (tmp_path / SECRET).mkdir()
    text = message(class_names=("a", "b"))
    assert "only folders called a, b, found 1 of other names" in text


def test_none_of_the_studys_classes(tmp_path, message):
    fill(tmp_path, a=3, b=3)
    text = message(class_names=("c", "d"))
    assert "expected folders called c, d, found 2 folders, none of these" in text


def test_files_beside_class_folders_and_deeper_folders_are_refused(tmp_path, message):
    fill(tmp_path, a=3, b=3)
    save(tmp_path / f"{SECRET}.png")
    fill(tmp_path / "a", deeper=2)
    text = message()
    assert "expected only folders, found 1 file beside them" in text
    assert "class 'a': expected only pictures, found 1 folder. Move" in text


def test_other_endings_are_refused(tmp_path, message):
    fill(tmp_path, a=3, b=3)
    (tmp_path / "a" / f"{SECRET}.dcm").touch()
    assert "class 'a', file 1 in name order" in message()
    assert "only files ending in .bmp, .jpeg" in message()


def test_a_folder_beside_parts_is_refused(tmp_path, message):
    fill(tmp_path / "train", a=3, b=3)
    fill(tmp_path / "test", a=3, b=3)
    fill(tmp_path, extra=2)
    assert "train, val, validation, test where one of them is there, found 1" in message()


@pytest.mark.parametrize(("present", "absent"), [("train", "test"), ("test", "train")])
def test_a_missing_part_is_refused_and_not_taken_for_a_class(tmp_path, message, present, absent):
    fill(tmp_path / present, a=3, b=3)
    fill(tmp_path / "val", a=3, b=3)
    assert f"{absent} part: expected pictures to train on and to test on, found none" in message()


def test_folders_and_pictures_are_told_together(tmp_path, message):
    fill(tmp_path, a=3, b=3)
    (tmp_path / "empty").mkdir()
    save(tmp_path / "a" / "x.png", size=(9, 9))
    text = message()
    assert "class 'empty'" in text
    assert "8 x 8 pixels, found 9 x 9" in text


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_path_that_is_no_folder(tmp_path, kind):
    path = tmp_path / SECRET
    if kind == "file":
        path.touch()
    with pytest.raises(StorageError, match="image folder: expected a folder of images") as caught:
        load_folder(path, spec=SPEC)
    assert SECRET not in str(caught.value)


def test_a_listing_keeps_the_order_of_classes_and_names(tmp_path):
    fill(tmp_path, b=3, a=2)
    listing = list_folder(tmp_path, spec=SPEC)
    images = listing.read(np.arange(len(listing)))
    assert listing.part is None
    assert images.labels.tolist() == [0, 0, 1, 1, 1]
    assert images.images[:, 0, 0, 0].tolist() == [0, 1, 0, 1, 2]


def test_a_listing_of_one_picture_is_read_and_not_split(tmp_path):
    fill(tmp_path, a=1)
    listing = list_folder(tmp_path, spec=SPEC, class_names=("a", "b"))
    assert listing.read(np.arange(1)).class_counts == (1, 0)
