"""Training, validation and test parts: stratified by class, disjoint by patient.

Patients come first: where they are known, all images of one go to one part, whatever that does
to the balance of the classes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from envoi.errors import DataError, Problem, SettingsError
from envoi.seeding import numpy_generator
from envoi.types import DataSet, ImageSet
from envoi.wording import counted

Indices = NDArray[np.int64]

PARTS = {"train": 0, "val": 1, "validation": 1, "test": 2}
"""Names of parts in folders and tables, exactly; 0 trains, 1 validates, 2 tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """How a set without splits of its own is split; the rest of the images trains.

    Attributes:
        validation: Fraction of the images that validates; 0 for no validation part.
        test: Fraction of the images that tests.
        seed: Equal seeds give equal splits.
    """

    validation: float = 0.1
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        fits = 0 <= self.validation < 1 and 0 < self.test < 1 and self.validation + self.test < 1
        if not fits:
            raise SettingsError(
                Problem(
                    "fractions that leave something to train on, and a test part",
                    f"validation {self.validation}, test {self.test}",
                    "split plan",
                    "Choose for example validation=0.1, test=0.2.",
                )
            )


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Disjoint, ascending indices that cover a set."""

    train: Indices
    validation: Indices
    test: Indices

    @property
    def parts(self) -> tuple[Indices, Indices, Indices]:
        """Training, validation, test."""
        return self.train, self.validation, self.test

    @property
    def order(self) -> Indices:
        """All indices, part after part."""
        return np.concatenate(self.parts)


def split_images(labels: Indices, patients: Indices | None, plan: SplitPlan) -> Split:
    """By patient where patients are known, else stratified by class.

    Args:
        labels: `(image,)`.
        patients: `(image,)` group codes, or None.
        plan: Fractions and seed.

    Raises:
        DataError: There are too few images, or all are of one patient.
    """
    generator = numpy_generator(plan.seed, "split")
    if patients is None:
        return stratified_split(labels, plan, generator)
    return patient_split(labels, patients, plan, generator)


def stratified_split(labels: Indices, plan: SplitPlan, generator: np.random.Generator) -> Split:
    """Each class is cut by the plan's fractions, rounded to whole images.

    A class of two images or more is tested on one at least; every class is trained on.

    Raises:
        DataError: No class has two images, so that nothing would be left to test.
    """
    part = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        tested = min(max(1, _rounded(len(members) * plan.test)), len(members) - 1)
        validated = min(_rounded(len(members) * plan.validation), len(members) - 1 - tested)
        part[members[:tested]] = 2
        part[members[tested : tested + validated]] = 1
    if not (part == 2).any():
        raise DataError(
            Problem(
                "a class of at least two images, one to train and one to test",
                f"{counted(len(labels), 'image')}, none of the same class",
                "images",
                "Give more images, or name the splits yourself.",
            )
        )
    return _as_split(part)


def patient_split(
    labels: Indices, patients: Indices, plan: SplitPlan, generator: np.random.Generator
) -> Split:
    """All images of a patient go to one part, the parts as near the plan as that allows.

    Patients are dealt from large to small, in random order among equals, each to the part whose
    class counts it brings nearest to their targets (chi-squared distance). Training and test
    have at least one patient each; so has validation, if there are three patients.

    Raises:
        DataError: All images are of one patient.
    """
    codes, groups = np.unique(patients, return_inverse=True)
    if len(codes) < 2:
        raise DataError(
            Problem(
                "at least two patients, since splits are disjoint by patient",
                f"{counted(len(labels), 'image')} of {counted(len(codes), 'patient')}",
                "patients",
                "Give images of more patients; a set of one can be neither split nor tested.",
            )
        )
    counts = np.zeros((len(codes), labels.max() + 1))
    np.add.at(counts, (groups, labels), 1)
    fractions = np.array([1 - plan.validation - plan.test, plan.validation, plan.test])
    part = _dealt(counts, fractions, generator)
    return _as_split(part[groups])


def cut(images: ImageSet, name: str, sizes: tuple[int, int, int]) -> DataSet:
    """A set whose images lie part after part, as a `DataSet`; nothing is copied.

    Args:
        images: Training, then validation, then test images.
        name: Of the data set.
        sizes: Number of images of each part; 0 validation images are none.
    """
    start = np.cumsum((0, *sizes)).tolist()
    train, validation, test = (_span(images, start[i], start[i + 1]) for i in range(3))
    return DataSet(name, train, validation if sizes[1] else None, test)


def _dealt(
    counts: NDArray[np.float64], fractions: NDArray[np.float64], generator: np.random.Generator
) -> Indices:
    """The part of each patient, from the patients' class counts `(patient, class)`."""
    target = fractions[:, None] * counts.sum(axis=0)
    held = np.zeros_like(target)
    part = np.zeros(len(counts), np.int64)
    shuffled = generator.permutation(len(counts))
    for patient in shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]:
        own = counts[patient]
        growth = (own * (own + 2 * (held - target)) / (target + 1e-9)).sum(axis=1)
        part[patient] = growth.argmin()
        held[part[patient]] += own
    return _none_empty(part, counts.sum(axis=1), fractions > 0)


def _none_empty(part: Indices, sizes: NDArray[np.float64], wanted: NDArray[np.bool_]) -> Indices:
    """Move the smallest patients of the fullest part to parts that are wanted and empty.

    Training and test take even the last patient of validation; validation takes nobody's last.
    """
    for empty in (2, 0, 1):
        members = np.bincount(part, minlength=3)
        spare = members - (1, int(empty == 1), 1)
        donor = spare.argmax()
        if wanted[empty] and not members[empty] and spare[donor] > 0:
            candidates = np.flatnonzero(part == donor)
            part[candidates[sizes[candidates].argmin()]] = empty
    return part


def _span(images: ImageSet, start: int, stop: int) -> ImageSet:
    patients, sites = images.patients, images.sites
    return replace(
        images,
        images=images.images[start:stop],
        labels=images.labels[start:stop],
        patients=None if patients is None else patients[start:stop],
        sites=None if sites is None else sites[start:stop],
    )


def _as_split(part: Indices) -> Split:
    return Split(*(np.flatnonzero(part == number) for number in range(3)))


def _rounded(value: float) -> int:
    return int(value + 0.5)
