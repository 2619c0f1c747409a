import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.data.splits import SplitPlan, cut, patient_split, split_images, stratified_split
from envoi.errors import DataError, SettingsError
from envoi.seeding import numpy_generator
from envoi.types import ImageSet

plans = st.builds(
    SplitPlan,
    validation=st.floats(0, 0.4),
    test=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
)
label_lists = st.lists(st.integers(0, 4), min_size=2, max_size=80)


def assert_covers_disjointly(split, count):
    assert sorted(split.order.tolist()) == list(range(count))


@given(label_lists, plans)
def test_stratified_split_covers_is_disjoint_and_keeps_fractions(labels, plan):
    labels = np.array(labels)
    if np.bincount(labels).max() < 2:
        return
    split = stratified_split(labels, plan, numpy_generator(plan.seed))
    assert_covers_disjointly(split, len(labels))
    for label, count in enumerate(np.bincount(labels)):
        tested = int((labels[split.test] == label).sum())
        assert abs(tested - count * plan.test) <= 1
        assert count == 0 or (labels[split.train] == label).any()
        assert count < 2 or tested >= 1


@given(label_lists, plans, st.data())
def test_patient_split_covers_is_disjoint_and_keeps_patients_whole(labels, plan, data):
    labels = np.array(labels)
    codes = st.lists(st.integers(-3, 9), min_size=len(labels), max_size=len(labels))
    patients = np.array(data.draw(codes))
    if len(np.unique(patients)) < 2:
        return
    split = patient_split(labels, patients, plan, numpy_generator(plan.seed))
    assert_covers_disjointly(split, len(labels))
    groups = [set(patients[part].tolist()) for part in split.parts]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert groups[0]
    assert groups[2]
    assert groups[1] or plan.validation == 0 or len(np.unique(patients)) < 3


def test_patient_split_is_near_the_plan_and_stratified_when_patients_are_small():
    generator = np.random.default_rng(0)
    labels = generator.choice(4, size=2000, p=[0.5, 0.3, 0.15, 0.05])
    patients = np.arange(2000) // 2
    split = patient_split(labels, patients, SplitPlan(), generator)
    for part, fraction in zip(split.parts, (0.7, 0.1, 0.2), strict=True):
        counts = np.bincount(labels[part], minlength=4)
        np.testing.assert_allclose(counts, fraction * np.bincount(labels), atol=4)


@settings(max_examples=20)
@given(st.integers(0, 50))
def test_equal_seeds_give_equal_splits(seed):
    labels, patients = np.arange(60) % 3, np.arange(60) // 4
    for known in (None, patients):
        first = split_images(labels, known, SplitPlan(seed=seed))
        again = split_images(labels, known, SplitPlan(seed=seed))
        other = split_images(labels, known, SplitPlan(seed=seed + 1))
        assert first.order.tolist() == again.order.tolist()
        assert first.order.tolist() != other.order.tolist()


def test_split_images_goes_by_patient_whenever_patients_are_known():
    labels, patients = np.arange(40) % 2, np.arange(40) // 8
    split = split_images(labels, patients, SplitPlan())
    assert not set(patients[split.train]) & set(patients[split.test])


def test_all_images_of_one_patient_cannot_be_split():
    with pytest.raises(DataError, match="at least two patients, since splits are disjoint"):
        split_images(np.array([0, 1, 0]), np.array([7, 7, 7]), SplitPlan())


def test_single_images_of_each_class_cannot_be_split():
    with pytest.raises(DataError, match="a class of at least two images"):
        split_images(np.array([0, 1, 2]), None, SplitPlan())


@pytest.mark.parametrize(
    ("validation", "test"), [(0.5, 0.5), (-0.1, 0.2), (0.1, 0.0), (0.1, 1.0), (float("nan"), 0.2)]
)
def test_impossible_fractions_are_refused(validation, test):
    with pytest.raises(SettingsError, match="leave something to train on"):
        SplitPlan(validation=validation, test=test)


def test_cut_makes_views_and_no_empty_validation():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    whole = ImageSet(images, np.zeros(5, np.int64), ("a", "b"), patients=np.arange(5))
    data = cut(whole, "five", (3, 0, 2))
    assert data.validation is None
    assert data.test.patients is not None
    assert data.test.patients.tolist() == [3, 4]
    assert np.shares_memory(data.train.images, images)
    assert cut(whole, "five", (2, 1, 2)).validation is not None
