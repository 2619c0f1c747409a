import numpy as np
import pytest
from sklearn import metrics as reference

from envoi.errors import DataError, SettingsError, ShapeError
from envoi.evaluation import compare_with_teacher, evaluate
from envoi.results import Interval


@pytest.fixture(scope="module")
def pair(answers):
    """A student, a better teacher, and the labels, of four classes."""
    student, labels = answers(400, 4, seed=1, sharpness=1.0)
    teacher, _ = answers(400, 4, seed=1, sharpness=2.5)
    return student, teacher, labels


def test_recalls_agree_with_scikit_learn(pair):
    student, teacher, labels = pair
    found = compare_with_teacher(student, teacher, labels, resamples=50)
    for name, answers_of in (("student", student), ("teacher", teacher)):
        wanted = reference.recall_score(labels, answers_of.argmax(axis=1), average=None)
        values = [getattr(recall, name).value for recall in found.recalls]
        assert values == pytest.approx(wanted.tolist())
    for recall in found.recalls:
        change = recall.difference
        assert change.value == pytest.approx(recall.student.value - recall.teacher.value)
        assert change.low <= change.value <= change.high
    assert found.teacher == evaluate(teacher, labels, resamples=50)
    agreeing = student.argmax(axis=1) == teacher.argmax(axis=1)
    assert found.agreement.value == pytest.approx(agreeing.mean())


def test_a_student_like_its_teacher_loses_nothing_for_certain(pair):
    _, teacher, labels = pair
    found = compare_with_teacher(teacher, teacher, labels, resamples=50)
    assert found.agreement == Interval(1, 1, 1)
    assert all(recall.difference == Interval(0, 0, 0) for recall in found.recalls)
    assert all(recall.student == recall.teacher for recall in found.recalls)


def test_the_difference_is_surer_than_two_intervals_apart(pair):
    """What is hard for both is drawn for both, and drops out."""
    student, teacher, labels = pair
    found = compare_with_teacher(student, teacher, labels)
    for recall in found.recalls:
        width = recall.difference.high - recall.difference.low
        apart = recall.student.high - recall.student.low + recall.teacher.high - recall.teacher.low
        assert 0 < width < apart


def test_the_interval_of_a_recall_is_that_of_a_share(answers):
    """2,000 images of two classes: about 1.96 standard errors to either side."""
    student, labels = answers(2000, 2, sharpness=1.0)
    for label, recall in enumerate(compare_with_teacher(student, student, labels).recalls):
        share, images = recall.student.value, (labels == label).sum()
        half = 1.96 * (share * (1 - share) / images) ** 0.5
        assert (recall.student.high - recall.student.low) / 2 == pytest.approx(half, rel=0.12)


def test_a_class_without_test_images_has_no_recall(pair):
    student, teacher, labels = pair
    known = labels != 2
    found = compare_with_teacher(student[known], teacher[known], labels[known], resamples=5)
    assert [recall is None for recall in found.recalls] == [False, False, True, False]


def test_whole_patients_are_drawn(pair):
    student, teacher, labels = pair
    alone = compare_with_teacher(student, teacher, labels)
    doubled = [np.concatenate([array, array]) for array in pair]
    twins = np.tile(np.arange(len(labels)), 2)
    together = compare_with_teacher(*doubled, patients=twins)
    for one, two in zip(alone.recalls, together.recalls, strict=True):
        assert two.difference == one.difference
    assert together.agreement == alone.agreement


def test_sites_are_measured_apart_for_the_teacher(pair):
    sites = np.array(["north", "south"]).repeat(200)
    found = compare_with_teacher(*pair, sites=sites, resamples=5)
    assert list(found.teacher.by_site) == ["north", "south"]


def test_answers_that_do_not_fit_one_another_are_refused(pair):
    student, teacher, labels = pair
    with pytest.raises(ShapeError, match=r"teacher: expected shape \(400, 4\), .* \(399, 4\)"):
        compare_with_teacher(student, teacher[1:], labels)
    with pytest.raises(ShapeError, match="one for each row of probabilities"):
        compare_with_teacher(student[1:], teacher, labels)
    with pytest.raises(DataError, match="sum to 1"):
        compare_with_teacher(2 * student, teacher, labels)
    with pytest.raises(DataError, match="sum to 1"):
        compare_with_teacher(student, 2 * teacher, labels)
    with pytest.raises(SettingsError, match="at least 1 resample"):
        compare_with_teacher(student, teacher, labels, resamples=0)
