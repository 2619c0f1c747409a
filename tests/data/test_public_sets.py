"""The table of public sets: whole, unambiguous, and honest about what it cannot fetch."""

import re

import pytest

from envoi.data.medmnist import _CLASSES
from envoi.data.public_sets import _MEDMNIST, SIZES_PX, public_set
from envoi.errors import SettingsError


def test_every_set_of_the_reader_can_be_fetched_at_every_size():
    assert set(_MEDMNIST) == set(_CLASSES)
    remotes = [public_set(name, size).files[0] for name in _MEDMNIST for size in SIZES_PX]
    for values in zip(*((remote.name, remote.url, remote.md5) for remote in remotes), strict=True):
        assert len(set(values)) == 44
    assert all(re.fullmatch("[0-9a-f]{32}", remote.md5) for remote in remotes)


def test_addresses_and_sums_are_medmnists():
    small, large = public_set("bloodmnist"), public_set("bloodmnist", 224)
    assert small.files[0].name == "bloodmnist.npz"
    assert small.files[0].md5 == "7053d0359d879ad8a5505303e11de1dc"
    url = "https://zenodo.org/records/10519652/files/bloodmnist_224.npz?download=1"
    assert large.files[0].url == url
    assert large.files[0].md5 == "b718ff6835fcbdb22ba9eacccd7b2601"
    assert public_set("bloodmnist", 28) == small


def test_licences_are_those_of_the_publishers():
    assert public_set("dermamnist").licence == "CC BY-NC 4.0"
    assert {public_set(name).licence for name in set(_MEDMNIST) - {"dermamnist"}} == {"CC BY 4.0"}
    assert "BY-NC" in public_set("fed-isic2019").licence


def test_fed_isic_is_five_files():
    assert [remote.name for remote in public_set("fed-isic2019").files] == [
        "ISIC_2019_Training_GroundTruth.csv",
        "ISIC_2019_Training_Metadata.csv",
        "train_test_split",
        "HAM10000_metadata",
        "ISIC_2019_Training_Input.zip",
    ]
    assert all(remote.url.startswith("https://") for remote in public_set("fed-isic2019").files)


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("chestmnist", None, "found 14 labels an image. Choose a set with one label an image"),
        ("rsna-pneumonia", None, "needs a Kaggle account. .*stage_2_train_labels.csv"),
        ("diabetic-retinopathy", None, "needs a Kaggle account. .*trainLabels.csv"),
        ("blodmnist", None, "Did you mean 'bloodmnist'"),
        ("x", None, "There are bloodmnist, .*fed-isic2019, chestmnist"),
        ("bloodmnist", 32, "expected one of 28, 64, 128, 224, found 32"),
        ("fed-isic2019", 224, "Leave --size out"),
    ],
)
def test_what_cannot_be_fetched_is_said_in_one_line(name, size, words):
    with pytest.raises(SettingsError, match=words) as caught:
        public_set(name, size)
    assert "\n" not in str(caught.value)
