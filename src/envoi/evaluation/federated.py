"""Evaluation where the images are: what a site may say of a student, and what that comes to.

A site says metrics of whole classes (`envoi.submission.evaluation`). Recalls of sites add up to
those of all images, by the images behind them; so do accuracy and balanced accuracy. An area
under the ROC curve does not: of all sites the mean of their own is told.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from envoi.errors import DataError, Problem
from envoi.evaluation.bootstrap import Statistic, bootstrap_interval
from envoi.evaluation.checks import check_answers
from envoi.evaluation.classification import (
    accuracy_statistic,
    auroc_statistic,
    balanced_accuracy_statistic,
    calibration_error_statistic,
    confusion_matrix,
    macro_auroc_statistic,
)
from envoi.results import Interval
from envoi.study import StatisticsPolicy
from envoi.submission.evaluation import DECIMALS, ClassEvaluation, Evaluation, Measured


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose evaluation it is, and of what; see `Evaluation`."""

    study: str
    site: str
    sequence: int
    created: date
    student: str


def site_evaluation(
    probabilities: NDArray[Any],
    labels: NDArray[Any],
    *,
    patients: NDArray[Any] | None,
    policy: StatisticsPolicy,
    origin: Origin,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """What a site says of a student on its images.

    Images of classes below the policy's minimum, of images or of patients, are left out of
    everything, as if they were not there. Of the other classes recall is told, and with it how
    many of their images were taken for others; for which others, where that is the minimum of
    images or more. Counts are coarsened as the policy says, but who knows a share and the width
    of its interval can tell closely how many images stand behind it.

    Args:
        probabilities: `(image, class)`, rows summing to 1.
        labels: `(image,)`.
        patients: `(image,)` group codes; whole patients are then drawn for intervals.
        policy: Of the study.
        origin: Whose evaluation it is.
        resamples: Bootstrap resamples.
        seed: Of the resamples.

    Raises:
        ShapeError: The arrays do not fit one another.
        DataError: No class has enough images.
    """
    check_answers(probabilities, labels)
    classes = probabilities.shape[1]
    whole = _Sample(probabilities, labels, patients, resamples, seed)
    told = _told_classes(whole, classes, policy)
    sample = whole.of(told[labels])
    probabilities, labels = sample.probabilities, sample.labels
    confusion = confusion_matrix(probabilities, labels)
    accuracy = sample.interval(accuracy_statistic(probabilities, labels))
    alone = int(told.sum()) == 1
    area = None if alone else sample.interval(macro_auroc_statistic(probabilities, labels))
    return Evaluation(
        study=origin.study,
        site=origin.site,
        sequence=origin.sequence,
        created=origin.created,
        student=origin.student,
        by_patient=patients is not None,
        accuracy=_rounded(_widened(accuracy, sample.people(np.ones(len(labels), np.bool_)))),
        balanced_accuracy=_rounded(
            sample.interval(balanced_accuracy_statistic(probabilities, labels))
        ),
        auroc=None if area is None else _rounded(area),
        ece=_rounded(sample.interval(calibration_error_statistic(probabilities, labels))),
        classes=tuple(
            _of_class(sample, index, confusion[index], policy, alone=alone)
            if told[index]
            else ClassEvaluation(images=0, recall=None, auroc=None, answers=())
            for index in range(classes)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Sample:
    """Answers to images, and how chance is reckoned."""

    probabilities: NDArray[Any]
    labels: NDArray[Any]
    patients: NDArray[Any] | None
    resamples: int
    seed: int

    def of(self, chosen: NDArray[np.bool_]) -> "_Sample":
        """The chosen images alone."""
        patients = None if self.patients is None else self.patients[chosen]
        return replace(
            self,
            probabilities=self.probabilities[chosen],
            labels=self.labels[chosen],
            patients=patients,
        )

    def interval(self, statistic: Statistic) -> Interval:
        """Of a statistic, over patients where they are known."""
        return bootstrap_interval(
            statistic,
            len(self.labels),
            resamples=self.resamples,
            seed=self.seed,
            patients=self.patients,
        )

    def people(self, chosen: NDArray[np.bool_]) -> int:
        """How many patients the chosen images are of; images, where patients are not known."""
        return int(chosen.sum()) if self.patients is None else len(np.unique(self.patients[chosen]))


def _told_classes(sample: _Sample, classes: int, policy: StatisticsPolicy) -> NDArray[np.bool_]:
    """Which classes have the policy's minimum of patients, or of images where no patient is known.

    Raises:
        DataError: None has.
    """
    people = np.array([sample.people(sample.labels == own) for own in range(classes)])
    told: NDArray[np.bool_] = people >= policy.minimum_class_size
    if not told.any():
        who = "images" if sample.patients is None else "patients"
        expected = f"a class of at least {policy.minimum_class_size} {who}"
        remedy = f"Evaluate on more {who}: of fewer nothing may be told."
        raise DataError(Problem(expected, f"{people.max()} at the most", "images", remedy))
    return told


def _of_class(
    sample: _Sample,
    index: int,
    answered: NDArray[np.int64],
    policy: StatisticsPolicy,
    *,
    alone: bool,
) -> ClassEvaluation:
    own = sample.labels == index
    right = own & (sample.probabilities.argmax(axis=1) == index)

    def recall(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = weights @ own
        known = np.divide(weights @ right, total, out=np.full(len(total), np.nan), where=total > 0)
        return np.asarray(known)

    area = auroc_statistic(sample.probabilities[:, index], own)
    shares = [round(count / answered.sum(), DECIMALS) for count in answered.tolist()]
    cells = _told_cells(answered, index, policy.minimum_class_size).tolist()
    return ClassEvaluation(
        images=policy.released_count(int(answered.sum())),
        recall=_rounded(_widened(sample.interval(recall), sample.people(own))),
        auroc=None if alone else _rounded(sample.interval(area)),
        answers=tuple(share if told else None for share, told in zip(shares, cells, strict=True)),
    )


def _told_cells(answered: NDArray[np.int64], own: int, minimum: int) -> NDArray[np.bool_]:
    """Which shares of a class's answers are told: none that gives away a smaller one.

    The wrong answers of a class add up to what its recall leaves. So where a single one of them
    is below the minimum, the smallest of the others is held back beside it (a second suppression
    of a table's cells, as statistical offices practise it); of two classes nothing can be.
    """
    told = answered >= minimum
    wrong = np.arange(len(answered)) != own
    if (wrong & ~told).sum() == 1 and (wrong & told).any():
        least = np.flatnonzero(wrong & told)[answered[wrong & told].argmin()]
        told[least] = False
    return told


@dataclass(frozen=True, slots=True)
class ClassMerged:
    """One class over all sites.

    Attributes:
        images: Over the sites that tell of it.
        sites: How many these are.
        recall: Over their images; None where nobody tells of the class.
    """

    images: int
    sites: int
    recall: Interval | None


@dataclass(frozen=True, slots=True)
class Merged:
    """A student over all sites that evaluated it.

    Attributes:
        images: Of all sites, as they are told.
        accuracy: Over all images.
        balanced_accuracy: Mean recall of the classes that anybody tells of.
        auroc: Mean of the sites' macro areas, by their images; None where no site has two classes.
        ece: Mean of the sites', by their images.
        classes: In the study's order.
        sites: The evaluations, by site.
    """

    images: int
    accuracy: Interval
    balanced_accuracy: Interval
    auroc: Interval | None
    ece: Interval
    classes: tuple[ClassMerged, ...]
    sites: tuple[Evaluation, ...]


def merged(evaluations: Iterable[Evaluation]) -> Merged:
    """What the sites' evaluations of one student amount to.

    Sites are independent, so variances and third cumulants of their parts add up to those of a
    weighted mean. Half the width of a site's interval stands for the deviation, and how far its
    middle lies from the value for the skewness, which is large near 0 and 1 (the first terms of
    Cornish and Fisher's expansion, Rev. Inst. Int. Stat. 5, 1938). One site alone has its own
    intervals.

    Args:
        evaluations: One of each site, at least one.

    Raises:
        DataError: There is none, or they are of different students.
    """
    sites = tuple(sorted(evaluations, key=lambda one: one.site))
    if not sites:
        remedy = "Have sites send what `envoi site evaluate` writes of this very student."
        raise DataError(Problem("an evaluation of the student", "none", "evaluations", remedy))
    if len({one.student for one in sites}) != 1:
        found = f"those of {len({one.student for one in sites})}"
        remedy = "Collect evaluations of one student's file."
        raise DataError(Problem("evaluations of one student", found, "evaluations", remedy))
    classes = tuple(
        _merged_class([one.classes[index] for one in sites])
        for index in range(len(sites[0].classes))
    )
    known = [one.recall for one in classes if one.recall is not None]
    weights = [float(one.images) for one in sites]
    areas = [(one.images, one.auroc) for one in sites if one.auroc is not None]
    return Merged(
        images=sum(one.images for one in sites),
        accuracy=_mean([one.accuracy for one in sites], weights),
        balanced_accuracy=_mean(known, [1.0] * len(known)),
        auroc=_mean([area for _, area in areas], [float(n) for n, _ in areas]) if areas else None,
        ece=_mean([one.ece for one in sites], weights),
        classes=classes,
        sites=sites,
    )


def _merged_class(told: Sequence[ClassEvaluation]) -> ClassMerged:
    known = [(one.images, one.recall) for one in told if one.recall is not None]
    images = sum(count for count, _ in known)
    recalls, weights = [recall for _, recall in known], [float(count) for count, _ in known]
    return ClassMerged(images, len(known), _mean(recalls, weights) if known else None)


def _mean(values: Sequence[Measured | Interval], weights: Sequence[float]) -> Interval:
    """A weighted mean of independent values, with a 95 % interval."""
    shares = np.asarray(weights) / math.fsum(weights)
    mean = math.fsum(share * one.value for share, one in zip(shares, values, strict=True))
    halves = shares * [(one.high - one.low) / 2 for one in values]
    shifts = shares * [(one.high + one.low) / 2 - one.value for one in values]
    half, variance = math.hypot(*halves), math.fsum(halves**2)
    shift = math.fsum(shifts * halves**2) / variance if variance else 0.0
    return Interval(mean, max(0.0, mean + shift - half), min(1.0, mean + shift + half))


def _widened(found: Interval, people: int) -> Interval:
    """A share's interval, at least as wide as Wilson's (J. Am. Stat. Assoc. 22, 1927) of `people`.

    Of a share of 0 or 1 every resample is alike, and the bootstrap knows no doubt.
    """
    right = round(found.value * people)
    wilson = stats.binomtest(right, people).proportion_ci(method="wilson")
    return Interval(found.value, min(found.low, wilson.low), max(found.high, wilson.high))


def _rounded(found: Interval) -> Measured:
    """To three decimals, outwards at the ends."""
    scale = 10**DECIMALS
    value = round(found.value, DECIMALS)
    low, high = math.floor(found.low * scale) / scale, math.ceil(found.high * scale) / scale
    return Measured(value=value, low=min(low, value), high=min(1.0, max(high, value)))
