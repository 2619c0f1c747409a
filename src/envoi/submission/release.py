"""What a site hands over for writing, raw; and what the study's policy lets pass."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from operator import index

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from envoi.errors import Problem
from envoi.settings import problems_of
from envoi.study import StatisticsPolicy, Study
from envoi.submission.layout import (
    FEATURE_CORRELATIONS,
    FEATURE_DEVIATIONS,
    FEATURE_MEANS,
    NETWORK,
    Layout,
)
from envoi.submission.manifest import (
    COUNT_LIMIT,
    EPSILON_LIMIT,
    TEMPERATURE_RANGE,
    Audit,
    TrainingCard,
)
from envoi.submission.moments import Moments


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """Everything of a site that may go into its submission, before the policy is applied.

    Attributes:
        architecture: One of the study's.
        state: The network's tensors in fp32 by parameter name, without batch counters.
        class_counts: Images of each class, exact; suppressed and rounded when written.
        card: How the network was trained.
        moments: Of the images of classes at or above the minimum size alone:
            `write_submission` sees no images and cannot take others out.
        temperature: Divides the logits for calibrated probabilities, 0.01 to 100.
        epsilon: Of differentially private training, or None.
        delta: Beside `epsilon`.
        audit: What attacks on it came to; None where nobody was held out.
    """

    architecture: str
    state: Mapping[str, Tensor]
    class_counts: tuple[int, ...]
    card: TrainingCard
    moments: Moments | None = None
    temperature: float | None = None
    epsilon: float | None = None
    delta: float = 0.0
    audit: Audit | None = None


def released_counts(release: Release, policy: StatisticsPolicy) -> tuple[int, ...] | None:
    """The counts that leave: suppressed, rounded, or None when none do."""
    if "class_counts" not in policy.release:
        return None
    return tuple(policy.released_count(index(count)) for count in release.class_counts)


def released_card(release: Release, policy: StatisticsPolicy) -> TrainingCard:
    """The card that leaves.

    Its number of images is the sum of the released counts: the exact one would give away a
    single suppressed class by subtraction. The accuracy is rounded, as an exact fraction would
    give away how many images validated.
    """
    counts = released_counts(release, policy)
    images = policy.released_count(sum(release.class_counts)) if counts is None else sum(counts)
    accuracy = release.card.validation_accuracy
    rounded = None if accuracy is None else round(float(accuracy), 2)
    return replace(release.card, images=images, validation_accuracy=rounded)


def released_temperature(release: Release, policy: StatisticsPolicy) -> float | None:
    """The temperature that leaves, to three decimals."""
    if release.temperature is None or "temperature" not in policy.release:
        return None
    return round(float(release.temperature), 3)


def released_moments(release: Release, policy: StatisticsPolicy) -> dict[str, Tensor]:
    """The moments that leave, as tensors; empty when the policy releases none."""
    if "feature_moments" not in policy.release:
        return {}
    assert release.moments is not None  # noqa: S101  (problems_of_release has looked)
    counts = released_counts(release, policy) or ()
    kept = torch.tensor([count > 0 for count in counts])
    moments = release.moments
    means = torch.where(kept[:, None], moments.means.detach().cpu(), torch.zeros(()))
    deviations, correlations = moments.deviations, moments.correlations
    if not bool(kept.any()):
        deviations = torch.zeros_like(deviations)
    if sum(counts) < policy.minimum_covariance_images:
        correlations = torch.eye(len(deviations))
    return Moments(means, deviations, correlations).encoded(policy.moment_rank)


def problems_of_release(release: Release, study: Study, layout: Layout) -> list[Problem]:
    """What does not fit the study, before anything is encoded."""
    problems = _problems_of_state(release, layout) + _problems_of_card(release.card)
    counts = release.class_counts
    if len(counts) != len(study.classes) or not all(0 <= n <= COUNT_LIMIT for n in counts):
        problems.append(
            Problem(
                f"{len(study.classes)} counts of at least 0",
                f"{len(counts)} counts, the smallest {min(counts, default=0)}",
                "class_counts",
                "Count the images of every class of the study.",
            )
        )
    low, high = TEMPERATURE_RANGE
    temperature = release.temperature
    if temperature is not None and not (isfinite(temperature) and low <= temperature <= high):
        problems.append(
            Problem(f"{low} to {high}", f"{temperature}", "temperature", "Calibrate again.")
        )
    epsilon, delta = release.epsilon, release.delta
    if epsilon is not None and not (0 < epsilon <= EPSILON_LIMIT and 0 <= delta < 1):
        expected = f"epsilon above 0 up to {EPSILON_LIMIT}, delta from 0 to below 1"
        found = f"epsilon {epsilon}, delta {delta}"
        problems.append(Problem(expected, found, "privacy", "Give the accountant's result."))
    if "feature_moments" in study.statistics.release:
        problems += _problems_of_moments(release, layout)
    return problems


def _problems_of_state(release: Release, layout: Layout) -> list[Problem]:
    wanted = {
        place.name.removeprefix(NETWORK): place.shape
        for place in layout.places
        if place.name.startswith(NETWORK)
    }
    found = {name: tuple(tensor.shape) for name, tensor in release.state.items()}
    return [
        Problem(
            f"{wanted.get(name, 'no tensor of that name')}",
            f"{found.get(name, 'nothing')}",
            f"network, {name}",
            f"Release the state of a {release.architecture}, without batch counters.",
        )
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]


def _problems_of_card(card: TrainingCard) -> list[Problem]:
    try:
        TypeAdapter(TrainingCard).validate_python(asdict(card))
    except ValidationError as err:
        return problems_of(err, where="card", known=[field.name for field in fields(card)])
    return []


def _problems_of_moments(release: Release, layout: Layout) -> list[Problem]:
    remedy = "Compute the feature moments that the study asks for."
    if release.moments is None:
        return [Problem("feature moments", "nothing", "moments", remedy)]
    wanted = {place.name: place.shape for place in layout.places}
    (features,) = wanted[FEATURE_DEVIATIONS]
    wanted[FEATURE_CORRELATIONS] = (features, features)  # a triangle or factors of it leave
    given = {
        FEATURE_MEANS: tuple(release.moments.means.shape),
        FEATURE_DEVIATIONS: tuple(release.moments.deviations.shape),
        FEATURE_CORRELATIONS: tuple(release.moments.correlations.shape),
    }
    problems = [
        Problem(f"{wanted[name]}", f"{shape}", name, remedy)
        for name, shape in given.items()
        if shape != wanted[name]
    ]
    if problems or _is_correlation(release.moments.correlations):
        return problems
    expected = "a symmetric matrix with a diagonal of one"
    return [Problem(expected, "another one", FEATURE_CORRELATIONS, remedy)]


def _is_correlation(matrix: Tensor) -> bool:
    # NaN passes: the check of numbers calls it by its name.
    symmetric = torch.allclose(matrix, matrix.T, atol=1e-3, equal_nan=True)
    return symmetric and bool(((matrix.diagonal() - 1).abs() < 1e-3).all())
