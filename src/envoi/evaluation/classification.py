"""Accuracy, balanced accuracy, macro AUROC, calibration error and confusion of one classifier.

Each metric exists once, as a statistic of weighted images; with every image once it is the
metric, with resampled weights its bootstrap distribution. An image's answer is the class of
highest probability, the first of equals.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from envoi.evaluation.bootstrap import Statistic, Values, Weights, bootstrap_interval, whole
from envoi.evaluation.checks import check_answers, check_sites, check_test_labels
from envoi.results import CalibrationBin, Interval, Metrics, SiteMetrics

CALIBRATION_BINS = 15

Probabilities = Float[np.ndarray, "image class"]
Labels = Int[np.ndarray, " image"]


def evaluate(
    probabilities: NDArray[Any],
    labels: NDArray[Any],
    *,
    resamples: int = 1000,
    seed: int = 0,
    patients: NDArray[Any] | None = None,
    sites: NDArray[Any] | None = None,
) -> Metrics:
    """All metrics of one classifier on one test set, with 95 % bootstrap intervals.

    Equal seeds draw equal resamples, so that methods are compared on the same draws.

    Args:
        probabilities: `(image, class)`, floats in 0..1, rows summing to 1.
        labels: `(image,)`, integers in 0..classes-1, of at least two classes.
        resamples: Bootstrap resamples.
        seed: Of the resamples.
        patients: `(image,)`, a code for each image's patient; whole patients are then drawn.
        sites: `(image,)`, the name of each image's site. Of two sites or more, the images of each
            are measured apart as well.

    Raises:
        ShapeError: The arrays do not fit one another, or there is no image.
        DataError: A row is no probability distribution, a label is outside the classes, or the
            test set holds a single class.
        SettingsError: `resamples` is below 1.
    """
    check_answers(probabilities, labels)
    check_test_labels(labels, classes=probabilities.shape[1])
    check_sites(sites, images=len(labels))
    interval = partial(bootstrap_interval, resamples=resamples, seed=seed)
    statistics = (
        accuracy_statistic,
        balanced_accuracy_statistic,
        macro_auroc_statistic,
        calibration_error_statistic,
    )
    accuracy_, balanced, auroc, ece = (
        interval(statistic(probabilities, labels), len(labels), patients=patients)
        for statistic in statistics
    )
    return Metrics(
        accuracy=accuracy_,
        balanced_accuracy=balanced,
        auroc=auroc,
        ece=ece,
        confusion=_counts(probabilities, labels),
        calibration=calibration_bins(probabilities, labels),
        by_site=_by_site(probabilities, labels, patients, sites, interval),
    )


def accuracy(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Fraction of right answers; arguments and errors as `evaluate`, one class allowed."""
    check_answers(probabilities, labels)
    return whole(accuracy_statistic(probabilities, labels), len(labels))


def balanced_accuracy(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean recall over the classes that `labels` holds; otherwise as `accuracy`."""
    check_answers(probabilities, labels)
    return whole(balanced_accuracy_statistic(probabilities, labels), len(labels))


def macro_auroc(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean one-against-rest area under the ROC curve; a tie counts one half.

    Averaged over the classes that `labels` holds.

    Raises:
        ShapeError: As `evaluate`.
        DataError: As `evaluate`; a single class in `labels` has no ROC curve.
    """
    check_answers(probabilities, labels)
    check_test_labels(labels, classes=probabilities.shape[1])
    return whole(macro_auroc_statistic(probabilities, labels), len(labels))


def expected_calibration_error(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean gap between confidence and accuracy over 15 bins, weighted by their images.

    Confidence is the highest probability; bins are equally wide and hold their upper edge
    (arXiv:1706.04599, eq. 3). Otherwise as `accuracy`.
    """
    check_answers(probabilities, labels)
    return whole(calibration_error_statistic(probabilities, labels), len(labels))


def confusion_matrix(probabilities: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.int64]:
    """Counts `(true class, answered class)`; otherwise as `accuracy`."""
    check_answers(probabilities, labels)
    classes = probabilities.shape[1]
    cells = labels.astype(np.int64) * classes + probabilities.argmax(axis=1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def calibration_bins(
    probabilities: NDArray[Any], labels: NDArray[Any]
) -> tuple[CalibrationBin, ...]:
    """Mean confidence and accuracy of each bin that holds an image; otherwise as `accuracy`."""
    check_answers(probabilities, labels)
    confidence, right, bins = _confidence(probabilities, labels)
    members = [bins == index for index in range(CALIBRATION_BINS)]
    return tuple(
        CalibrationBin(float(confidence[held].mean()), float(right[held].mean()), int(held.sum()))
        for held in members
        if held.any()
    )


def _by_site(
    probabilities: Probabilities,
    labels: Labels,
    patients: NDArray[Any] | None,
    sites: NDArray[Any] | None,
    interval: Callable[..., Interval],
) -> dict[str, SiteMetrics]:
    """Each site's images apart; nothing where there is one site, or none is named."""
    names = [] if sites is None else np.unique(sites).tolist()
    if sites is None or len(names) < 2:
        return {}

    def measured(own: NDArray[np.bool_]) -> SiteMetrics:
        answers, truth = probabilities[own], labels[own]
        drawn = None if patients is None else patients[own]
        accuracy_, balanced = (
            interval(statistic(answers, truth), len(truth), patients=drawn)
            for statistic in (accuracy_statistic, balanced_accuracy_statistic)
        )
        return SiteMetrics(accuracy_, balanced, _counts(answers, truth))

    return {str(name): measured(sites == name) for name in names}


def _counts(probabilities: Probabilities, labels: Labels) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in confusion_matrix(probabilities, labels).tolist())


def accuracy_statistic(probabilities: Probabilities, labels: Labels) -> Statistic:
    """Of weighted images, for `bootstrap_interval`: see `accuracy`."""
    right = _right(probabilities, labels)
    return lambda weights: weights @ right / weights.sum(axis=1)


def balanced_accuracy_statistic(probabilities: Probabilities, labels: Labels) -> Statistic:
    """Of weighted images: see `balanced_accuracy`."""
    truth = (labels[:, None] == np.unique(labels)).astype(np.float64)
    right = truth * _right(probabilities, labels)[:, None]

    def statistic(weights: Weights) -> Values:
        counts = weights @ truth
        recall = weights @ right / np.maximum(counts, 1)
        return np.asarray(recall.sum(axis=1) / (counts > 0).sum(axis=1))

    return statistic


def macro_auroc_statistic(probabilities: Probabilities, labels: Labels) -> Statistic:
    """Of weighted images: see `macro_auroc`."""
    curves = [
        auroc_statistic(probabilities[:, index], labels == index) for index in np.unique(labels)
    ]

    def statistic(weights: Weights) -> Values:
        areas = np.stack([curve(weights) for curve in curves])
        defined = ~np.isnan(areas)
        total = np.where(defined, areas, 0).sum(axis=0)
        return np.where(defined.any(axis=0), total / np.maximum(defined.sum(axis=0), 1), np.nan)

    return statistic


def auroc_statistic(scores: Float[np.ndarray, " image"], positive: NDArray[np.bool_]) -> Statistic:
    """The Mann-Whitney statistic of one class; NaN for a resample without both sides."""
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives])]
    positives = np.flatnonzero(positive)
    below = np.searchsorted(scores[negatives], scores[positives], side="left")
    up_to = np.searchsorted(scores[negatives], scores[positives], side="right")

    def statistic(weights: Weights) -> Values:
        passed = np.zeros((len(weights), len(negatives) + 1))
        np.cumsum(weights[:, negatives], axis=1, out=passed[:, 1:])
        won = (passed[:, below] + passed[:, up_to]) / 2
        ours = weights[:, positives]
        pairs = ours.sum(axis=1) * passed[:, -1]
        area = (ours * won).sum(axis=1) / np.maximum(pairs, 1)
        return np.where(pairs > 0, area, np.nan)

    return statistic


def calibration_error_statistic(probabilities: Probabilities, labels: Labels) -> Statistic:
    """Of weighted images: see `expected_calibration_error`."""
    confidence, right, bins = _confidence(probabilities, labels)
    gaps = (bins[:, None] == np.arange(CALIBRATION_BINS)) * (confidence - right)[:, None]
    return lambda weights: np.asarray(np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1))


def _confidence(
    probabilities: Probabilities, labels: Labels
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Each image's confidence, whether its answer is right (1 or 0), and its bin."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1
    return confidence, _right(probabilities, labels), bins.clip(0, CALIBRATION_BINS - 1)


def _right(probabilities: Probabilities, labels: Labels) -> Float[np.ndarray, " image"]:
    return np.asarray(probabilities.argmax(axis=1) == labels, dtype=np.float64)
