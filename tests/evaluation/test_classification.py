import json
import math
import subprocess
import sys
import time
import tracemalloc
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from envoi.errors import DataError, SettingsError, ShapeError
from envoi.evaluation import (
    accuracy,
    balanced_accuracy,
    calibration_bins,
    check_test_labels,
    confusion_matrix,
    evaluate,
    expected_calibration_error,
    macro_auroc,
)

SIZES = [(7, 2), (60, 3), (500, 8), (300, 20)]
METRICS = [accuracy, balanced_accuracy, macro_auroc, expected_calibration_error]


@pytest.mark.parametrize(("images", "classes"), SIZES)
@pytest.mark.parametrize("decimals", [1, 2, 16])
def test_agrees_with_scikit_learn(answers, images, classes, decimals):
    probabilities, labels = answers(images, classes, seed=classes)
    probabilities = np.round(probabilities, decimals)  # rounding makes ties
    probabilities[:, 0] += 1 - probabilities.sum(axis=1)
    probabilities = np.abs(probabilities)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    present = np.unique(labels)

    recalls = reference.recall_score(labels, predicted, labels=present, average=None)
    areas = [reference.roc_auc_score(labels == c, probabilities[:, c]) for c in present]
    assert accuracy(probabilities, labels) == pytest.approx(
        reference.accuracy_score(labels, predicted)
    )
    assert balanced_accuracy(probabilities, labels) == pytest.approx(np.mean(recalls))
    assert macro_auroc(probabilities, labels) == pytest.approx(np.mean(areas))
    np.testing.assert_array_equal(
        confusion_matrix(probabilities, labels),
        reference.confusion_matrix(labels, predicted, labels=range(classes)),
    )


@pytest.mark.parametrize(("images", "classes"), SIZES)
def test_calibration_error_agrees_with_a_direct_loop(answers, images, classes):
    probabilities, labels = answers(images, classes)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    expected = 0.0
    for low in range(15):
        held = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if held.any():
            expected += held.mean() * abs(confidence[held].mean() - right[held].mean())
    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected)


def test_calibration_bins_make_up_the_error(answers):
    probabilities, labels = answers(400, 4)
    bins = calibration_bins(probabilities, labels)
    assert sum(item.count for item in bins) == 400
    error = sum(item.count / 400 * abs(item.confidence - item.accuracy) for item in bins)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(error)


def test_certain_and_right_is_perfect():
    labels = np.array([0, 1, 2, 1])
    found = evaluate(np.eye(3)[labels], labels, resamples=50)
    assert found.accuracy.value == found.balanced_accuracy.value == found.auroc.value == 1.0
    assert (found.accuracy.low, found.accuracy.high) == (1.0, 1.0)
    assert found.ece.value == 0.0
    assert found.confusion == ((1, 0, 0), (0, 2, 0), (0, 0, 1))
    assert len(found.calibration) == 1


def test_a_constant_answer_is_chance():
    labels = np.array([0, 0, 0, 1])
    probabilities = np.tile([0.75, 0.25], (4, 1))
    assert accuracy(probabilities, labels) == 0.75
    assert balanced_accuracy(probabilities, labels) == 0.5
    assert macro_auroc(probabilities, labels) == 0.5
    assert expected_calibration_error(probabilities, labels) == 0.0


def test_a_class_without_test_images_counts_in_no_mean():
    labels = np.array([0, 1, 0, 1])
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1]])
    assert balanced_accuracy(probabilities, labels) == 0.75
    areas = [reference.roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1)]
    assert macro_auroc(probabilities, labels) == pytest.approx(np.mean(areas))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 60))
def test_order_of_images_and_classes_does_not_matter(seed, classes, images):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(classes), images)
    labels = generator.integers(0, classes, images)
    labels[:2] = 0, 1
    shuffled, renamed = generator.permutation(images), generator.permutation(classes)
    others = probabilities[shuffled][:, renamed]
    names = np.argsort(renamed)[labels[shuffled]]
    for metric in METRICS:
        assert metric(others, names) == pytest.approx(metric(probabilities, labels))


def test_float32_rows_are_accepted_and_agree(answers):
    probabilities, labels = answers(200, 5)
    half = probabilities.astype(np.float32)
    for metric in METRICS:
        assert metric(half, labels) == pytest.approx(metric(probabilities, labels), abs=1e-6)


def test_equal_seeds_give_equal_metrics_and_others_do_not(answers):
    probabilities, labels = answers(80, 3)
    first = evaluate(probabilities, labels, resamples=200, seed=1)
    assert first == evaluate(probabilities, labels, resamples=200, seed=1)
    assert first.accuracy != evaluate(probabilities, labels, resamples=200, seed=2).accuracy


def test_results_are_valid_json_even_when_resamples_are_undefined(answers):
    labels = np.array([0, 1])  # half of all resamples hold one class alone
    found = evaluate(np.array([[0.6, 0.4], [0.7, 0.3]]), labels, resamples=40)
    json.dumps(asdict(found), allow_nan=False)
    for name in ("accuracy", "balanced_accuracy", "auroc", "ece"):
        interval = getattr(found, name)
        assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_two_thousand_images_take_little_time_and_memory(answers):
    probabilities, labels = answers(2000, 8)
    started = time.perf_counter()
    evaluate(probabilities, labels)
    assert time.perf_counter() - started < 5  # about half a second when nothing else runs
    tracemalloc.start()
    evaluate(probabilities, labels, resamples=2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


@pytest.mark.parametrize(
    ("probabilities", "labels", "error", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), ShapeError, "an image and two classes"),
        (np.ones((3, 1)), np.zeros(3, int), ShapeError, "an image and two classes"),
        (np.ones(3), np.zeros(3, int), ShapeError, "an image and two classes"),
        (np.full((3, 2), 0.5), np.zeros(4, int), ShapeError, "one for each row"),
        (np.full((3, 2), 0.5), np.zeros((3, 1), int), ShapeError, r"found shape \(3, 1\)"),
        (np.full((3, 2), 0.4), np.array([0, 1, 0]), DataError, "3 of 3 rows.*sum 0.8"),
        (np.array([[1.5, -0.5], [1, 0]]), np.array([0, 1]), DataError, "1 of 2 rows"),
        (np.array([[np.nan, 1.0], [1, 0]]), np.array([0, 1]), DataError, "NaN or infinity in 1"),
        (np.array([[np.inf, 1.0], [1, 0]]), np.array([0, 1]), DataError, "NaN or infinity in 1"),
        (np.array([[1, 0], [0, 1]]), np.array([0, 1]), DataError, "expected floats, found int"),
        (np.full((2, 2), 0.5), np.array([0, 2]), DataError, r"labels in 0..1, found \[2\]"),
        (np.full((2, 2), 0.5), np.array([0, -1]), DataError, r"found \[-1\]"),
        (np.full((2, 2), 0.5), np.array([0.0, 1.0]), DataError, "expected integers"),
    ],
)
@pytest.mark.parametrize("metric", [evaluate, *METRICS, confusion_matrix, calibration_bins])
def test_bad_input_is_refused(metric, probabilities, labels, error, message):
    with pytest.raises(error, match=message):
        metric(probabilities, labels)


def test_all_problems_are_said_at_once():
    with pytest.raises(DataError) as caught:
        accuracy(np.full((2, 2), 0.4), np.array([0, 5]))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("metric", [evaluate, macro_auroc])
def test_a_test_set_of_one_class_is_refused(metric):
    with pytest.raises(DataError, match="at least two classes, found only class 1"):
        metric(np.full((3, 2), 0.5), np.ones(3, int))


def test_the_other_metrics_accept_one_class():
    probabilities, labels = np.array([[0.9, 0.1], [0.2, 0.8]]), np.zeros(2, int)
    assert accuracy(probabilities, labels) == balanced_accuracy(probabilities, labels) == 0.5
    assert math.isfinite(expected_calibration_error(probabilities, labels))


def test_test_labels_can_be_checked_beforehand():
    check_test_labels(np.array([0, 2]), classes=3)
    with pytest.raises(DataError, match="two classes"):
        check_test_labels(np.array([2, 2]), classes=3)
    with pytest.raises(DataError, match=r"found \[3\]"):
        check_test_labels(np.array([0, 3]), classes=3)
    with pytest.raises(ShapeError, match="at least one"):
        check_test_labels(np.zeros(0, int), classes=3)
    with pytest.raises(ShapeError, match=r"found shape \(2, 1\)"):
        check_test_labels(np.zeros((2, 1), int), classes=3)


def test_resamples_must_be_positive(answers):
    with pytest.raises(SettingsError, match="at least 1 resample"):
        evaluate(*answers(20, 2), resamples=0)


def test_the_room_loads_no_torch():
    code = "import sys, envoi.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_each_site_is_measured_on_its_own_images(answers):
    probabilities, labels = answers(300, 3)
    sites = np.array(["north", "south", "north"]).repeat(100)
    found = evaluate(probabilities, labels, sites=sites, resamples=40)
    assert list(found.by_site) == ["north", "south"]
    for name, part in found.by_site.items():
        alone = evaluate(probabilities[sites == name], labels[sites == name], resamples=40)
        assert part.accuracy == alone.accuracy
        assert part.balanced_accuracy == alone.balanced_accuracy
        assert part.confusion == alone.confusion
    assert sum(sum(map(sum, part.confusion)) for part in found.by_site.values()) == 300


def test_a_sites_images_may_be_of_one_class(answers):
    probabilities, labels = answers(60, 2)
    sites = np.where(labels == 1, "north", "south")
    found = evaluate(probabilities, labels, sites=sites, resamples=5).by_site["north"]
    assert found.accuracy.value == found.balanced_accuracy.value
    assert sum(found.confusion[0]) == 0


def test_patients_stay_whole_within_a_site(answers):
    probabilities, labels = answers(200, 2)
    sites, patients = np.array(["a", "b"]).repeat(100), np.arange(200) // 20
    wide = evaluate(probabilities, labels, sites=sites, patients=patients).by_site["a"]
    part = sites == "a"
    alone = evaluate(probabilities[part], labels[part], patients=patients[part])
    assert wide.accuracy == alone.accuracy


@pytest.mark.parametrize("sites", [None, np.array(["one"] * 20)])
def test_one_site_is_not_measured_apart(answers, sites):
    assert evaluate(*answers(20, 2), sites=sites, resamples=5).by_site == {}


def test_sites_must_be_named_for_every_image(answers):
    with pytest.raises(ShapeError, match=r"sites: expected one name .* 20 images, found .*\(19,\)"):
        evaluate(*answers(20, 2), sites=np.array(["a", "b"] * 10)[1:])
