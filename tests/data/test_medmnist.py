import pickle
import zipfile

import numpy as np
import pytest

from envoi.data import load_medmnist
from envoi.errors import DataError, EnvoiError, StorageError


def arrays(size=28, channels=(3,), classes=8, count=16, **changes):
    generator = np.random.default_rng(0)
    made = {}
    for part, n in (("train", count), ("val", 8), ("test", 8)):
        shape = (n, size, size, *channels)
        made[f"{part}_images"] = generator.integers(0, 256, shape, dtype=np.uint8)
        made[f"{part}_labels"] = (np.arange(n) % classes).astype(np.uint8)[:, None]
    return {**made, **changes}


@pytest.fixture
def write(tmp_path):
    def write(name="bloodmnist.npz", drop=(), **content):
        kept = {key: value for key, value in arrays(**content).items() if key not in drop}
        np.savez_compressed(tmp_path / name, **kept)
        return tmp_path / name

    return write


def test_colour_set_is_read_channel_first(write):
    data = load_medmnist(write())
    content = arrays()
    assert data.name == "bloodmnist"
    assert data.train.images.shape == (16, 3, 28, 28)
    assert data.train.images.flags.c_contiguous
    np.testing.assert_array_equal(
        data.train.images[3, 1], content["train_images"][3, :, :, 1], strict=True
    )
    assert data.train.labels.dtype == np.int64
    assert data.train.labels.tolist() == content["train_labels"][:, 0].tolist()
    assert data.train.class_names[6] == "neutrophil"
    assert data.validation is not None
    assert len(data.validation) == 8


@pytest.mark.parametrize("channels", [(), (1,)])
@pytest.mark.parametrize("size", [28, 64, 128])
def test_grey_sets_of_any_size_are_read(write, channels, size):
    data = load_medmnist(write("other.npz", size=size, channels=channels), name="mine")
    assert data.name == "mine"
    assert data.test.images.shape == (8, 1, size, size)


def test_flat_labels_are_read(write):
    flat = {f"{part}_labels": np.arange(n) % 2 for part, n in (("train", 16), ("val", 8))}
    data = load_medmnist(write("other.npz", classes=2, **flat))
    assert data.train.class_counts == (8, 8)


@pytest.mark.parametrize(
    ("name", "classes", "last"),
    [
        ("bloodmnist_128.npz", 8, "platelet"),
        ("dermamnist.npz", 7, "vasc"),
        ("octmnist_64.npz", 4, "normal"),
        ("pathmnist.npz", 9, "colorectal adenocarcinoma epithelium"),
        ("tissuemnist.npz", 8, "thick ascending limb"),
        ("pneumoniamnist_224.npz", 2, "pneumonia"),
        ("retinamnist.npz", 5, "grade 4"),
        ("breastmnist.npz", 2, "normal or benign"),
        ("organamnist.npz", 11, "spleen"),
        ("OrganCMNIST.npz", 11, "spleen"),
        ("organsmnist_224.npz", 11, "spleen"),
    ],
)
def test_families_are_known_by_the_name_of_the_file(write, name, classes, last):
    names = load_medmnist(write(name, classes=2)).train.class_names
    assert (len(names), names[-1]) == (classes, last)


def test_other_files_have_numbered_classes_unless_names_are_given(write):
    path = write("skin.npz", classes=3)
    assert load_medmnist(path).train.class_names == ("0", "1", "2")
    assert load_medmnist(path, class_names=["x", "y", "z"]).train.class_names == ("x", "y", "z")


def test_all_missing_arrays_are_named_together(write):
    path = write(drop=("val_images", "test_labels"))
    with pytest.raises(DataError, match="without val_images, test_labels"):
        load_medmnist(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((16, 28, 28), np.float32)}, "train_images: expected uint8"),
        ({"val_images": np.zeros((8, 28, 28), np.uint16)}, "found uint16 of shape"),
        ({"train_images": np.zeros((16, 28), np.uint8)}, "square images, 3 or 4 axes"),
        ({"train_images": np.uint8(3)}, "square images, 3 or 4 axes"),
        ({"train_images": np.zeros((16, 28, 20, 3), np.uint8)}, "square images, 3 or 4 axes"),
        ({"test_images": np.zeros((8, 28, 28, 2), np.uint8)}, "1 or 3 channels on the last axis"),
        ({"test_images": np.zeros((0, 28, 28, 3), np.uint8)}, "test_images: expected at least one"),
        ({"test_images": np.zeros((8, 32, 32, 3), np.uint8)}, "one size and colour in all splits"),
        ({"val_images": np.zeros((8, 28, 28), np.uint8)}, "one size and colour in all splits"),
        ({"train_labels": np.zeros((16, 14), np.uint8)}, "multi-label sets are not read"),
        ({"train_labels": np.zeros(15, np.uint8)}, "one label for each of 16 images"),
        ({"val_labels": np.zeros((8, 1), np.float64)}, "val_labels: expected whole numbers"),
        ({"val_labels": np.full((8, 1), 8, np.uint8)}, "labels in 0..7, found labels in 8..8"),
        ({"val_labels": np.full((8, 1), -1, np.int8)}, "labels in 0..7, found labels in -1..-1"),
    ],
)
def test_wrong_arrays_are_refused(write, changes, message):
    with pytest.raises(DataError, match=message):
        load_medmnist(write(**changes))


def test_everything_wrong_is_told_at_once(write):
    path = write(
        train_images=np.zeros((16, 28), np.float32),
        val_labels=np.zeros((8, 3), np.uint8),
        test_images=np.zeros((8, 28, 28, 4), np.uint8),
    )
    with pytest.raises(DataError) as caught:
        load_medmnist(path)
    assert {problem.where for problem in caught.value.problems} == {
        "train_images",
        "val_labels",
        "test_images",
    }


def test_a_stray_huge_label_does_not_make_as_many_classes(write):
    labels = np.zeros((16, 1), np.int64)
    labels[3] = 10**12
    with pytest.raises(DataError, match=r"labels in 0\.\.32, found labels in 0\.\.1000000000000"):
        load_medmnist(write("other.npz", train_labels=labels))


def test_python_objects_are_refused_and_not_run(write, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "harmed"), "w"))

    path = write(train_labels=np.array([Harmful()] * 16, dtype=object))
    with pytest.raises(DataError, match="found Python objects"):
        load_medmnist(path)
    assert not (tmp_path / "harmed").exists()


def test_missing_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="none.npz: expected an .npz file, found No such file"):
        load_medmnist(tmp_path / "none.npz")


@pytest.mark.parametrize(
    "content", [b"", b"text, not an archive", b"PK\x03\x04 cut", b"\x93NUMPY\x01\x00 cut"]
)
def test_files_of_another_kind_are_refused(tmp_path, content):
    path = tmp_path / "wrong.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected an .npz file of MedMNIST's six arrays"):
        load_medmnist(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"path,label\na.png,1\n", "a file of another kind"),
        (b"text, not an archive", "a file of another kind"),
        (pickle.dumps([1]), "Python objects"),
    ],
)
def test_what_a_file_of_another_kind_is_called(tmp_path, content, found):
    path = tmp_path / "wrong.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"found {found}"):
        load_medmnist(path)


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match="found a single array"):
        load_medmnist(tmp_path / "one.npy")


def test_an_archive_of_other_things_is_refused(tmp_path):
    path = tmp_path / "things.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="a file without train_images, train_labels"):
        load_medmnist(path)


def test_truncated_files_are_refused_at_any_length(write):
    path = write(size=8)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load_medmnist(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_files_never_end_in_another_error(write):
    path = write(size=4, count=4)
    whole = bytearray(path.read_bytes())
    refused = 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            load_medmnist(path)
        except EnvoiError:
            refused += 1
    assert refused > len(whole) // 6
