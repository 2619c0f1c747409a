"""What the metrics require of their input, with every problem said at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from envoi.errors import DataError, Problem, SettingsError, ShapeError

ROW_SUM_TOLERANCE = 1e-3


def check_answers(probabilities: NDArray[Any], labels: NDArray[Any]) -> None:
    """Require one row of probabilities and one label for each image.

    Rows may miss the sum 1 by 0.001, which is what half precision does to them.

    Raises:
        ShapeError: The arrays do not fit one another, or there is no image.
        DataError: A row is no probability distribution, or a label is outside the classes.
    """
    _check_shapes(probabilities, labels, what="probabilities")
    problems = [
        *_problems_of_probabilities(probabilities),
        *_problems_of_labels(labels, probabilities.shape[1]),
    ]
    if problems:
        raise DataError(*problems)


def check_logits(logits: NDArray[Any], labels: NDArray[Any]) -> None:
    """Require one row of finite logits and one label for each image.

    Raises:
        ShapeError: The arrays do not fit one another, or there is no image.
        DataError: A logit is not finite, or a label is outside the classes.
    """
    _check_shapes(logits, labels, what="logits")
    problems = [
        *_problems_of_finite(logits, "logits"),
        *_problems_of_labels(labels, logits.shape[1]),
    ]
    if problems:
        raise DataError(*problems)


def check_test_labels(labels: NDArray[Any], *, classes: int) -> None:
    """Require labels that a test set can have; call it before hours of work, not after.

    A test set of a single class is refused: it has no ROC curve, and answering that class
    every time would be perfect.

    Args:
        labels: `(image,)`, integers in 0..classes-1.
        classes: Number of classes of the study.

    Raises:
        ShapeError: The labels are not a list, or there are none.
        DataError: A label is outside the classes, or all are equal.
    """
    if labels.ndim != 1 or not labels.size:
        raise ShapeError(_shape_problem("labels", "(image,), at least one", labels))
    problems = _problems_of_labels(labels, classes)
    if not problems and labels.min() == labels.max():
        problems = [
            Problem(
                "test images of at least two classes",
                f"only class {labels[0]}",
                "labels",
                "Test on images of the classes that the study tells apart.",
            )
        ]
    if problems:
        raise DataError(*problems)


def check_sites(sites: NDArray[Any] | None, *, images: int) -> None:
    """Require a site's name for each image, if there are any.

    Raises:
        ShapeError: There are more or fewer.
    """
    if sites is not None and sites.shape != (images,):
        expected = f"one name for each of the {images} images"
        remedy = "Give one name for each image, or none."
        raise ShapeError(Problem(expected, f"shape {sites.shape}", "sites", remedy))


def check_temperature(temperature: float) -> None:
    """Require a temperature above 0.

    Raises:
        SettingsError: It is 0, negative or not finite.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise SettingsError(
            Problem("a value above 0", str(temperature), "temperature", "Correct temperature.")
        )


def _check_shapes(scores: NDArray[Any], labels: NDArray[Any], *, what: str) -> None:
    problems = []
    if scores.ndim != 2 or len(scores) < 1 or scores.shape[1] < 2:
        problems.append(_shape_problem(what, "(image, class), an image and two classes", scores))
    if labels.shape != scores.shape[:1]:
        problems.append(_shape_problem("labels", f"one for each row of {what}", labels))
    if problems:
        raise ShapeError(*problems)


def _shape_problem(where: str, expected: str, found: NDArray[Any]) -> Problem:
    return Problem(
        expected, f"shape {found.shape}", where, "Give one row and one label for each test image."
    )


def _problems_of_finite(values: NDArray[Any], where: str) -> list[Problem]:
    if not np.issubdtype(values.dtype, np.floating):
        return [Problem("floats", str(values.dtype), where, "Convert them explicitly.")]
    broken = int((~np.isfinite(values)).any(axis=1).sum())
    if not broken:
        return []
    return [
        Problem(
            "finite values",
            f"NaN or infinity in {broken} of {len(values)} rows",
            where,
            "Check the network that made them.",
        )
    ]


def _problems_of_probabilities(probabilities: NDArray[Any]) -> list[Problem]:
    problems = _problems_of_finite(probabilities, "probabilities")
    if problems:
        return problems
    sums = probabilities.sum(axis=1, dtype=np.float64)
    wrong = (np.abs(sums - 1) > ROW_SUM_TOLERANCE) | (probabilities < 0).any(axis=1)
    if not wrong.any():
        return []
    return [
        Problem(
            "rows of values from 0 to 1 that sum to 1",
            f"{int(wrong.sum())} of {len(wrong)} rows that do not, "
            f"the first with sum {sums[wrong][0]:.4g}",
            "probabilities",
            "Pass logits through softmax first.",
        )
    ]


def _problems_of_labels(labels: NDArray[Any], classes: int) -> list[Problem]:
    if not np.issubdtype(labels.dtype, np.integer):
        return [Problem("integers", str(labels.dtype), "labels", "Convert them explicitly.")]
    outside = np.unique(labels[(labels < 0) | (labels >= classes)])
    if not outside.size:
        return []
    return [
        Problem(
            f"labels in 0..{classes - 1}",
            f"{outside[:5].tolist()}",
            "labels",
            "Correct the labels or the study's class names.",
        )
    ]
