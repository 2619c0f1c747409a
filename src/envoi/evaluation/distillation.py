"""A student beside its teacher: what each recognises of each class, and how often they agree."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from envoi.errors import Problem, ShapeError
from envoi.evaluation.bootstrap import Statistic, bootstrap_interval
from envoi.evaluation.checks import check_answers
from envoi.evaluation.classification import evaluate
from envoi.results import ClassRecall, Distillation, Interval

Scores = Float[np.ndarray, " image"]


def compare_with_teacher(
    student: NDArray[Any],
    teacher: NDArray[Any],
    labels: NDArray[Any],
    *,
    resamples: int = 1000,
    seed: int = 0,
    patients: NDArray[Any] | None = None,
    sites: NDArray[Any] | None = None,
) -> Distillation:
    """A student and its teacher on one test set, class by class, with 95 % bootstrap intervals.

    A class's recall is an average over the images of that class alone, so those alone are drawn;
    for the difference the same draw serves both, which takes out what is hard for both.

    Args:
        student: Its probabilities, `(image, class)`.
        teacher: Its teacher's, of the same shape.
        labels: `(image,)`, integers in 0..classes-1, of at least two classes.
        resamples: Bootstrap resamples.
        seed: Of the resamples.
        patients: `(image,)`, a code for each image's patient; whole patients are then drawn.
        sites: As for `evaluate`, for the teacher's metrics.

    Raises:
        ShapeError: The arrays do not fit one another, or there is no image.
        DataError: As `evaluate`.
        SettingsError: `resamples` is below 1.
    """
    check_answers(student, labels)
    if student.shape != teacher.shape:
        expected = f"shape {student.shape}, as the student's"
        remedy = "Ask both about the same images and classes."
        raise ShapeError(Problem(expected, f"shape {teacher.shape}", "teacher", remedy))
    metrics = evaluate(
        teacher, labels, resamples=resamples, seed=seed, patients=patients, sites=sites
    )
    answers, theirs = student.argmax(axis=1), teacher.argmax(axis=1)

    def interval(scores: Scores, drawn: NDArray[np.bool_]) -> Interval:
        owners = None if patients is None else patients[drawn]
        return bootstrap_interval(
            _mean(scores[drawn]), int(drawn.sum()), resamples=resamples, seed=seed, patients=owners
        )

    def recall(members: NDArray[np.bool_]) -> ClassRecall:
        ours, known = ((given == labels).astype(np.float64) for given in (answers, theirs))
        return ClassRecall(*(interval(of, members) for of in (known, ours, ours - known)))

    classes = [labels == label for label in range(student.shape[1])]
    return Distillation(
        teacher=metrics,
        recalls=tuple(recall(members) if members.any() else None for members in classes),
        agreement=interval((answers == theirs).astype(np.float64), np.ones(len(labels), bool)),
    )


def _mean(scores: Scores) -> Statistic:
    return lambda weights: weights @ scores / weights.sum(axis=1)
