import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envoi.errors import EnvoiWarning
from envoi.seeding import torch_generator
from envoi.site.split import split
from envoi.types import ImageSet


def images_of(patients, known=True):
    count = len(patients)
    return ImageSet(
        np.zeros((count, 1, 4, 4), np.uint8),
        np.zeros(count, np.int64),
        ("a", "b"),
        np.asarray(patients, np.int64) if known else None,
    )


@given(
    patients=st.lists(st.integers(0, 9), min_size=2, max_size=60),
    fraction=st.floats(0.01, 0.9),
    seed=st.integers(0, 5),
)
def test_split_covers_and_is_disjoint_by_patient(patients, fraction, seed):
    if len(set(patients)) < 2:
        patients = [*patients, 10]
    parts = split(images_of(patients), fraction, torch_generator(seed))
    both = np.concatenate([parts.training, parts.validation])
    assert sorted(both) == list(range(len(patients)))
    groups = np.asarray(patients)
    assert not set(groups[parts.training]) & set(groups[parts.validation])
    assert len(parts.training)
    assert len(parts.validation)


def test_without_patients_the_first_tenth_of_the_shuffled_list_validates():
    parts = split(images_of(range(50), known=False), 0.1, torch_generator(3))
    shuffled = torch.randperm(50, generator=torch_generator(3)).numpy()
    np.testing.assert_array_equal(parts.validation, shuffled[:5])
    np.testing.assert_array_equal(parts.training, shuffled[5:])


def test_a_large_patient_never_swallows_the_training_part():
    patients = [0] * 90 + list(range(1, 11))
    for seed in range(20):
        parts = split(images_of(patients), 0.1, torch_generator(seed))
        assert len(parts.validation) == 10


def test_the_smallest_patient_validates_when_none_fits():
    parts = split(images_of([0] * 30 + [1] * 20), 0.1, torch_generator(0))
    assert sorted(parts.validation) == list(range(30, 50))


def test_fraction_zero_asks_for_no_validation_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = split(images_of([1]), 0.0, torch.Generator())
    assert len(parts.validation) == 0


@pytest.mark.parametrize(
    ("patients", "known", "found"),
    [([5], False, "one image"), ([5], True, "one image"), ([5] * 9, True, "images of one patient")],
)
def test_sites_that_cannot_be_split_train_on_everything(patients, known, found):
    with pytest.warns(EnvoiWarning, match=f"only {found}, so nothing is left"):
        parts = split(images_of(patients, known=known), 0.2, torch_generator(0))
    assert sorted(parts.training) == list(range(len(patients)))
    assert len(parts.validation) == 0
