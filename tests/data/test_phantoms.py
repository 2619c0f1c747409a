import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifier

from envoi.data import PHANTOM_CLASSES, hospital_stain, phantom_federation, phantom_images
from envoi.data.phantoms import _apportioned, _class_counts
from envoi.errors import DataError, SettingsError


def photographs(labels, seed=0, stain=0, **options):
    return phantom_images(
        np.asarray(labels),
        stain=hospital_stain(stain),
        generator=np.random.default_rng(seed),
        **options,
    )


@pytest.fixture(scope="module")
def federation():
    return phantom_federation(images_per_site=60, test_images=80)


def test_images_are_a_function_of_the_generator():
    labels = np.arange(24) % 8
    first, again, other = photographs(labels), photographs(labels), photographs(labels, seed=1)
    np.testing.assert_array_equal(first, again, strict=True)
    assert (first != other).mean() > 0.5
    assert first.shape == (24, 3, 28, 28)
    assert first.dtype == np.uint8


def test_every_image_has_a_cell_on_a_bright_ground():
    images = photographs(np.arange(160) % 8).astype(float)
    grounds = np.percentile(images.mean(axis=1), 95, axis=(1, 2))
    assert grounds.min() > 150
    middle = images[:, :, 8:20, 8:20].mean(axis=1).min(axis=(1, 2))
    assert (middle < grounds - 25).mean() > 0.97


def test_kinds_can_be_told_apart_but_not_by_a_line():
    """Far above chance (12.5 %) with 60 images of a kind, far below a network's 90 %."""
    labels = np.arange(960) % 8
    pixels = photographs(labels).reshape(960, -1) / 255
    model = RidgeClassifier(alpha=300.0).fit(pixels[:480], labels[:480])
    assert 0.4 < model.score(pixels[480:], labels[480:]) < 0.85


def test_hospitals_differ_more_than_slides_do():
    labels = np.arange(64) % 8
    own = [photographs(labels, seed=seed).mean(axis=(0, 2, 3)) for seed in range(3)]
    others = [photographs(labels, stain=stain).mean(axis=(0, 2, 3)) for stain in range(1, 5)]
    spread = np.ptp(own, axis=0).max()
    assert min(np.abs(other - own[0]).max() for other in others) > 1.5 * spread


def test_thousands_of_images_take_seconds():
    start = time.process_time()
    photographs(np.arange(1000) % 8)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        ([0], {"size_px": 15}, SettingsError, "size_px: expected at least 16 pixels, found 15"),
        ([0, 8], {}, DataError, "labels: expected labels in 0..7, found labels from 0 to 8"),
        ([-1], {}, DataError, "found labels from -1 to -1"),
        ([0, 1], {"patients": np.arange(3)}, DataError, "one patient for each of the 2 labels"),
    ],
)
def test_impossible_images_are_refused(labels, options, error, message):
    with pytest.raises(error, match=message):
        photographs(labels, **options)


def test_federation_has_sites_and_a_balanced_test_set(federation):
    train, test = federation.train, federation.test
    assert federation.name == "phantoms"
    assert federation.validation is None
    assert train.class_names == PHANTOM_CLASSES
    names, counts = np.unique(train.sites, return_counts=True)
    assert names.tolist() == [f"site-{number}" for number in range(1, 6)]
    assert counts.tolist() == [60] * 5
    assert test.class_counts == (10,) * 8
    for name in names:
        assert test.subset(test.sites == name).class_counts == (2,) * 8


def test_patients_have_a_few_cells_one_hospital_and_one_part(federation):
    train, test = federation.train, federation.test
    assert not set(train.patients.tolist()) & set(test.patients.tolist())
    for part in (train, test):
        _, cells = np.unique(part.patients, return_counts=True)
        assert 1 < cells.mean() <= 5
        homes = set(zip(part.patients.tolist(), part.sites.tolist(), strict=True))
        assert len(homes) == len(cells)


def test_images_lie_in_random_order(federation):
    labels = federation.train.labels[:60]
    assert (np.diff(labels) < 0).sum() > 10


def test_federation_is_a_function_of_the_seed(federation):
    again = phantom_federation(images_per_site=60, test_images=80)
    other = phantom_federation(images_per_site=60, test_images=80, seed=1)
    np.testing.assert_array_equal(again.train.images, federation.train.images)
    np.testing.assert_array_equal(again.test.images, federation.test.images)
    assert (other.train.labels != federation.train.labels).any()


def test_more_training_images_leave_the_test_set_as_it_was(federation):
    more = phantom_federation(images_per_site=70, test_images=80)
    np.testing.assert_array_equal(more.test.images, federation.test.images)


@given(st.integers(3, 20), st.integers(0, 300), st.floats(0.1, 20), st.integers(0, 10_000))
def test_each_site_lacks_one_or_two_kinds_and_each_kind_has_two_sites(sites, images, alpha, seed):
    counts = _class_counts(sites, 100 + images, alpha, np.random.default_rng(seed))
    assert (counts.sum(axis=1) == 100 + images).all()
    lacking = (counts == 0).sum(axis=1)
    assert set(lacking.tolist()) <= {1, 2}
    assert ((counts > 0).sum(axis=0) >= 2).all()


@pytest.mark.parametrize("sites", [1, 2])
def test_one_or_two_sites_lack_nothing(sites):
    counts = _class_counts(sites, 100, 1.0, np.random.default_rng(0))
    assert (counts > 0).all()


def test_a_large_alpha_is_even():
    counts = _class_counts(4, 600, 1e6, np.random.default_rng(0))
    present = counts[counts > 0]
    assert present.min() >= 80
    assert present.max() <= 101


@given(st.integers(0, 1000), st.lists(st.floats(0.001, 10), min_size=1, max_size=9))
def test_apportioned_shares_sum_up_and_are_rounded(total, share):
    share = np.array(share)
    whole = _apportioned(total, share)
    assert whole.sum() == total
    assert np.abs(whole - total * share / share.sum()).max() < 1 + 1e-9


@pytest.mark.parametrize("name", ["sites", "images_per_site", "test_images", "alpha"])
def test_nothing_of_something_is_refused(name):
    with pytest.raises(SettingsError, match=f"{name}: expected a positive number, found 0"):
        phantom_federation(**{name: 0})


def test_too_small_images_are_refused():
    with pytest.raises(SettingsError, match="smaller cells cannot be told apart"):
        phantom_federation(size_px=8)


def test_a_tiny_federation_is_whole():
    tiny = phantom_federation(sites=4, images_per_site=3, test_images=10, size_px=16)
    assert tiny.train.images.shape == (12, 3, 16, 16)
    assert len(tiny.test) == 10
    assert set(tiny.test.sites.tolist()) == {"site-1", "site-2"}
