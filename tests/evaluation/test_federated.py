"""What a site tells of a student: aggregates alone, and they add up to what pooling would say."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from envoi.errors import DataError
from envoi.evaluation import federated
from envoi.evaluation.classification import accuracy, balanced_accuracy, evaluate
from envoi.evaluation.federated import Origin, merged, site_evaluation
from envoi.results import Interval
from envoi.study import StatisticsPolicy

POLICY = StatisticsPolicy(minimum_class_size=5)


def origin(site="north", student="b" * 64):
    return Origin("a" * 64, site, 1, date(2026, 11, 29), student)


def answers(draws, labels, classes):
    """Probabilities that are right more often than not."""
    logits = draws.normal(size=(len(labels), classes))
    logits[np.arange(len(labels)), labels] += 1
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


def told(probabilities, labels, *, policy=POLICY, patients=None, site="north", **options):
    return site_evaluation(
        probabilities, labels, patients=patients, policy=policy, origin=origin(site), **options
    )


@pytest.fixture
def draws():
    return np.random.default_rng(0)


def test_metrics_are_those_of_the_evaluation_room(draws):
    labels = draws.integers(0, 3, 300)
    probabilities = answers(draws, labels, 3)
    found, known = told(probabilities, labels), evaluate(probabilities, labels)
    for name in ("accuracy", "balanced_accuracy", "auroc", "ece"):
        mine, theirs = getattr(found, name), getattr(known, name)
        assert mine.value == pytest.approx(theirs.value, abs=6e-4)
        assert mine.low <= theirs.low + 1e-9
        assert mine.high >= theirs.high - 1e-9
    right = (probabilities.argmax(axis=1) == labels)[labels == 1].mean()
    assert found.classes[1].recall.value == pytest.approx(right, abs=6e-4)
    assert found.classes[1].images == (labels == 1).sum()


def test_small_classes_leave_no_trace(draws):
    labels = np.repeat([0, 1, 2], [40, 40, 4])
    probabilities = answers(draws, labels, 3)
    found = told(probabilities, labels)
    assert found.classes[2].model_dump() == {
        "images": 0, "recall": None, "auroc": None, "answers": ()
    }  # fmt: skip
    assert found == told(probabilities[:80], labels[:80])


def test_shares_of_few_images_are_left_out():
    labels = np.repeat([0, 1], [20, 20])
    probabilities = np.eye(2)[np.where(np.arange(40) < 3, 1, labels)]  # three wrong of the first
    first, second = told(probabilities, labels).classes
    assert first.answers == (0.85, None)
    assert second.answers == (None, 1.0)
    assert (first.recall.value, second.recall.value) == (0.85, 1.0)  # that some are wrong is told


@pytest.mark.parametrize(
    ("wrong", "told_of_wrong"),
    [
        ((3, 9, 7), (None, 0.18, None)),  # with the 7, the 3 could be reckoned
        ((3, 4, 8), (None, None, 0.16)),
        ((0, 9, 7), (None, 0.18, None)),
        ((5, 9, 7), (0.1, 0.18, 0.14)),
        ((0, 0, 4), (None, None, None)),
    ],
)
def test_no_share_of_few_images_follows_from_the_others(wrong, told_of_wrong):
    answered = np.repeat([0, 1, 2, 3], [50 - sum(wrong), *wrong])
    labels = np.repeat([0, 1, 2, 3], [50, 20, 20, 20])
    probabilities = np.eye(4)[np.concatenate([answered, labels[50:]])]
    first = told(probabilities, labels).classes[0]
    assert first.answers == ((50 - sum(wrong)) / 50, *told_of_wrong)


def test_a_class_of_few_patients_is_not_told_however_many_images_they_have(draws):
    labels = np.repeat([0, 1], [60, 60])
    patients = np.concatenate([np.arange(60), np.full(60, 99)])
    probabilities = answers(draws, labels, 2)
    found = told(probabilities, labels, patients=patients)
    assert found.classes[1].model_dump()["images"] == 0
    assert found == told(probabilities[:60], labels[:60], patients=patients[:60])
    with pytest.raises(DataError, match="a class of at least 5 patients, found 4 at the most"):
        told(probabilities[:60], labels[:60], patients=np.arange(60) % 4)


def test_few_patients_who_are_all_right_are_as_doubtful_as_few_images():
    labels = np.zeros(60, int)
    found = told(np.eye(2)[labels], labels, patients=np.arange(60) % 6)
    assert found.accuracy.low == pytest.approx(0.609, abs=2e-3)  # Wilson's of 6 in 6
    assert found.classes[0].recall == found.accuracy


def test_counts_are_coarsened_as_the_study_says():
    labels = np.repeat([0, 1], [23, 38])
    policy = StatisticsPolicy(minimum_class_size=5, count_rounding=10)
    found = told(np.eye(2)[labels], labels, policy=policy)
    assert [one.images for one in found.classes] == [20, 40]
    assert found.images == 60


def test_a_site_of_one_class_has_no_area():
    found = told(np.eye(2)[np.zeros(9, int)], np.zeros(9, int))
    assert found.auroc is None
    assert found.classes[0].recall.value == 1


def test_too_few_images_are_refused():
    with pytest.raises(DataError, match="a class of at least 5 images, found 4 at the most"):
        told(np.eye(2)[[0, 0, 0, 0, 1]], np.array([0, 0, 0, 0, 1]))


def test_whole_patients_widen_intervals(draws):
    labels = draws.integers(0, 2, 40).repeat(10)
    probabilities = answers(draws, labels, 2)
    probabilities = probabilities[np.arange(40).repeat(10) * 10]  # a patient's images are alike
    single = told(probabilities, labels)
    whole = told(probabilities, labels, patients=np.arange(40).repeat(10))
    assert whole.by_patient
    assert not single.by_patient
    spans = [one.accuracy.high - one.accuracy.low for one in (single, whole)]
    assert spans[1] > 2 * spans[0]


class TestMerged:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10**6), st.integers(1, 4))
    def test_sites_add_up_to_all_images(self, seed, sites):
        draws = np.random.default_rng(seed)
        labels = draws.integers(0, 3, 60 * sites)
        probabilities = answers(draws, labels, 3)
        policy = StatisticsPolicy(minimum_class_size=1)
        parts = np.array_split(np.arange(len(labels)), sites)
        found = merged(
            told(probabilities[own], labels[own], policy=policy, site=f"s{n}", resamples=20)
            for n, own in enumerate(parts)
        )
        assert found.images == len(labels)
        assert found.accuracy.value == pytest.approx(accuracy(probabilities, labels), abs=1e-3)
        pooled = balanced_accuracy(probabilities, labels)
        assert found.balanced_accuracy.value == pytest.approx(pooled, abs=1e-3)
        assert [one.images for one in found.classes] == np.bincount(labels, minlength=3).tolist()

    def test_intervals_are_those_of_pooled_images(self, draws):
        labels = draws.integers(0, 2, 1200)
        probabilities = answers(draws, labels, 2)
        parts = np.array_split(np.arange(1200), 3)
        found = merged(
            told(probabilities[own], labels[own], site=f"s{n}") for n, own in enumerate(parts)
        )
        pooled = evaluate(probabilities, labels)
        for name in ("accuracy", "balanced_accuracy"):
            mine, theirs = getattr(found, name), getattr(pooled, name)
            assert mine.high - mine.low == pytest.approx(theirs.high - theirs.low, rel=0.15)

    def test_a_class_that_one_site_has_is_known_by_it_alone(self):
        labels = np.repeat([0, 1], 10)
        both = told(np.eye(2)[labels], labels, site="a")
        one = told(np.eye(2)[np.zeros(10, int)], np.zeros(10, int), site="b")
        found = merged([one, both])
        assert [each.sites for each in found.classes] == [2, 1]
        assert [each.site for each in found.sites] == ["a", "b"]
        assert found.auroc.value == 1

    def test_nobody_and_different_students_are_refused(self):
        labels = np.repeat([0, 1], 10)
        first = told(np.eye(2)[labels], labels)
        other = first.model_copy(update={"student": "c" * 64})
        with pytest.raises(DataError, match="evaluations of one student, found those of 2"):
            merged([first, other])
        with pytest.raises(DataError, match="an evaluation of the student, found none. Have sites"):
            merged([])

    def test_one_site_alone_keeps_its_intervals(self):
        labels = np.repeat([0, 1], [20, 30])
        alone = told(np.eye(2)[np.where(np.arange(50) == 3, 1, labels)], labels)
        found = merged([alone])
        for mine, its in (
            (found.accuracy, alone.accuracy),
            (found.ece, alone.ece),
            (found.auroc, alone.auroc),
            (found.classes[0].recall, alone.classes[0].recall),
        ):
            assert (mine.value, mine.low, mine.high) == pytest.approx(
                (its.value, its.low, its.high)
            )

    @pytest.mark.parametrize("share", [0.03, 0.1, 0.9, 0.97])
    def test_intervals_of_two_small_sites_hold_the_truth(self, share):
        wilson = [stats.binomtest(right, 20).proportion_ci(method="wilson") for right in range(21)]
        parts = [Interval(right / 20, *wilson[right]) for right in range(21)]
        counts = np.random.default_rng(4).binomial(20, share, (2000, 2)).tolist()
        found = [federated._mean([parts[one] for one in pair], [20, 20]) for pair in counts]
        held = np.mean([one.low <= share <= one.high for one in found])
        assert held > 0.935
        assert all(one.low <= one.value <= one.high for one in found)

    def test_nobody_right_at_two_sites_is_as_doubtful_as_of_their_images_together(self):
        high = stats.binomtest(0, 20).proportion_ci(method="wilson").high
        found = federated._mean([Interval(0.0, 0.0, high)] * 2, [20, 20])
        together = stats.binomtest(0, 40).proportion_ci(method="wilson").high
        assert (found.value, found.low) == (0, 0)
        assert together <= found.high < 1.15 * together

    def test_sites_without_doubt_leave_none(self):
        found = federated._mean([Interval(0.5, 0.5, 0.5)] * 2, [1, 3])
        assert found == Interval(0.5, 0.5, 0.5)


def test_rounding_never_narrows_an_interval():
    found = federated._rounded(Interval(0.12345, 0.12341, 0.12349))
    assert (found.low, found.value, found.high) == (0.123, 0.123, 0.124)
    assert federated._rounded(Interval(1.0, 0.9999, 1.0)).high == 1.0


def test_a_share_of_nothing_or_all_is_not_certain():
    labels = np.repeat([0, 1], [20, 30])
    found = told(np.eye(2)[np.zeros(50, int)], labels)
    first, second = (one.recall for one in found.classes)
    # Of Wilson: the square of z over itself and the images.
    assert (second.value, second.low) == (0, 0)
    assert second.high == pytest.approx(3.8415 / (30 + 3.8415), abs=1e-3)
    assert first.high == 1
    assert first.low == pytest.approx(20 / (20 + 3.8415), abs=1e-3)
