"""Image sets: what is refused, and what a selection keeps."""

import dataclasses
import re

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.errors import DataError
from envoi.types import DataSet, ImageSet, ImageSpec

quick = settings(deadline=None, max_examples=30)

CLASSES = ("a", "b", "c")


def image_set(count=6, *, classes=CLASSES, **changes):
    images = np.arange(count * 3 * 4 * 4, dtype=np.uint8).reshape(count, 3, 4, 4)
    values = {
        "images": images,
        "labels": np.arange(count) % 2,
        "class_names": classes,
        "patients": np.arange(count) // 2,
        "sites": np.array(["north", "south"] * count)[:count],
    }
    return ImageSet(**{**values, **changes})


@pytest.fixture
def unchecked_types():
    """Without the tests' run-time type checks, as in use."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_the_papers_specification_maps_bytes_to_minus_one_to_one():
    spec = ImageSpec.of(3, 28)
    assert (spec.channels, spec.size_px, spec.value_range) == (3, 28, (0.0, 255.0))
    assert spec.mean == spec.deviation == (0.5, 0.5, 0.5)
    assert ImageSpec.of(1, 28).mean == (0.5,)


def test_class_counts_have_an_entry_for_classes_without_images():
    assert image_set(5).class_counts == (3, 2, 0)
    assert len(image_set(5)) == 5


def test_the_repr_tells_sizes_and_no_content():
    assert repr(image_set()) == "ImageSet(6 images of 3x4x4, 3 classes, patients: 3)"
    assert repr(image_set(patients=None)).endswith("patients: unknown)")


@quick
@given(st.lists(st.integers(0, 5), max_size=8))
def test_a_subset_keeps_each_image_with_its_columns(indices):
    whole = image_set()
    part = whole.subset(indices)
    assert len(part) == len(indices)
    for position, index in enumerate(indices):
        assert (part.images[position] == whole.images[index]).all()
        assert part.labels[position] == whole.labels[index]
        assert part.patients[position] == whole.patients[index]
        assert part.sites[position] == whole.sites[index]
    assert part.class_names == whole.class_names


def test_a_mask_and_its_indices_select_the_same():
    whole, mask = image_set(), np.array([True, False, False, True, True, False])
    assert (whole.subset(mask).images == whole.subset([0, 3, 4]).images).all()


def test_a_subset_of_unknown_patients_stays_unknown():
    part = image_set(patients=None, sites=None).subset([1, 2])
    assert part.patients is None
    assert part.sites is None


def test_sets_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        image_set().class_names = ("x",)
    data = DataSet("cells", image_set(), None, image_set())
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.validation = image_set()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": np.zeros((6, 4, 4), np.uint8)},
            r"images: expected uint8 images .*, found uint8 of shape \(6, 4, 4\)\. Convert",
        ),
        (
            {"labels": np.zeros(5, np.int64)},
            r"labels: expected one entry for each of the 6 images, found shape \(5,\)",
        ),
        ({"patients": np.zeros(7, np.int64)}, r"patients: expected one entry .* \(7,\)"),
        ({"sites": np.array([["x"] * 6])}, r"sites: expected one entry .* \(1, 6\)"),
        ({"labels": np.array([0, 1, 3, 7, 2, 7])}, r"labels in 0\.\.2, found \[3, 7\]"),
        ({"labels": np.array([0, 1, -1, 0, 0, 0])}, r"labels in 0\.\.2, found \[-1\]"),
        ({"class_names": ()}, r"labels in 0\.\.-1, found \[0, 1\]"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(DataError, match=message):
        image_set(**changes)


@pytest.mark.usefixtures("unchecked_types")
def test_images_of_other_types_are_not_converted():
    with pytest.raises(DataError, match=re.escape("found float32 of shape (6, 3, 4, 4)")):
        image_set(images=np.zeros((6, 3, 4, 4), np.float32))


def test_all_problems_are_told_at_once():
    with pytest.raises(DataError) as caught:
        image_set(labels=np.array([9]), patients=np.zeros(1, np.int64))
    assert [problem.where for problem in caught.value.problems] == ["labels", "patients", "labels"]


def test_at_most_five_wrong_labels_are_listed():
    with pytest.raises(DataError, match=r"found \[3, 4, 5, 6, 7\]\."):
        image_set(8, labels=np.arange(3, 11))


def test_an_empty_set_is_a_set():
    empty = image_set().subset([])
    assert (len(empty), empty.class_counts) == (0, (0, 0, 0))


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": np.arange(6) % 3},
        {"class_names": ("a", "c", "b")},
        {"patients": None},
        {"sites": None},
        {"sites": np.array(["north"] * 6)},
        {"images": np.zeros((6, 3, 4, 4), np.uint8)},
        {"images": np.arange(6 * 48, dtype=np.uint8).reshape(6, 1, 4, 12)},
    ],
)
def test_a_digest_tells_sets_apart(changes):
    whole = image_set()
    assert dataclasses.replace(whole, **changes).digest != whole.digest
    assert image_set().digest == whole.digest
    assert whole.subset(range(6)[::-1]).subset(range(6)[::-1]).digest == whole.digest
