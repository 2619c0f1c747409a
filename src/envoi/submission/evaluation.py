"""What a hospital says of a student on its own images: a small signed JSON file of aggregates.

Metrics and counts of whole classes. A class with fewer images (or patients, where they are known)
than the study's minimum is not in it at all. Which other class the wrong answers name is left out
where fewer images stand behind it; how many are wrong in all follows from recall.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from envoi.errors import Problem, SubmissionError
from envoi.files import write_text
from envoi.study import Study
from envoi.submission.manifest import Count, Digest
from envoi.submission.refusal import refused
from envoi.submission.statement import Form, Statement
from envoi.submission.write import check_signer

SUFFIX = ".evaluation.json"
SIGNING_DOMAIN = b"envoi evaluation v1\n"
SIZE_LIMIT = 4 << 20
DECIMALS = 3
REMEDY = "Ask the site to write the file again with `envoi site evaluate`."

Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class Measured(BaseModel):
    """A metric from 0 to 1 with its 95 % interval, rounded to three decimals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Share
    low: Share
    high: Share

    @model_validator(mode="after")
    def _check_order(self) -> "Measured":
        if not self.low <= self.value <= self.high:
            raise ValueError("an interval that does not hold its value")
        return self


class ClassEvaluation(BaseModel):
    """One class at one site.

    Attributes:
        images: Of the class, as the study's policy tells counts; 0 for fewer than its minimum.
        recall: How many of them the student knows; None where there are too few.
        auroc: Of this class against the others that are told; None where there are too few.
        answers: For each class the share of these images that the student takes for it; None
            where that is fewer images than the minimum, or where it would give such a share away.
            Empty where the class has too few.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: Count
    recall: Measured | None
    auroc: Measured | None
    answers: tuple[Share | None, ...]


class Evaluation(Statement):
    """What a site says of a student, under its signature.

    Attributes:
        schema_version: Of this format.
        study: Digest of the study.
        site: Id in the study's roster.
        sequence: Of the site's evaluations of this student the highest counts.
        created: Day (UTC) of writing.
        student: SHA-256 of the student's file.
        by_patient: Whether intervals are of patients drawn anew, and not of single images.
        accuracy: Over the classes that are told.
        balanced_accuracy: The same.
        auroc: Macro mean, over the same classes; None of a single class.
        ece: Expected calibration error, 15 bins; over the same images.
        classes: In the study's order.
    """

    schema_version: Literal[1] = 1
    created: date
    student: Digest
    by_patient: bool
    accuracy: Measured
    balanced_accuracy: Measured
    auroc: Measured | None
    ece: Measured
    classes: tuple[ClassEvaluation, ...]

    @property
    def images(self) -> int:
        """Of all classes that are told."""
        return sum(one.images for one in self.classes)


_FORM = Form("evaluation", "an evaluation", Evaluation, SIGNING_DOMAIN, SIZE_LIMIT, REMEDY)


def write_evaluation(
    path: Path, evaluation: Evaluation, *, study: Study, key: Ed25519PrivateKey
) -> None:
    """Sign an evaluation and write it.

    Raises:
        SubmissionError: It is of another study or of other classes.
        SignatureError: The roster has no such site, or another key for it.
        StorageError: The file cannot be written.
    """
    check_signer(study, site=evaluation.site, sequence=evaluation.sequence, key=key)
    for fault in _faults(evaluation, study):
        raise SubmissionError(Problem(fault, "another", "evaluation", "Evaluate it again."))
    write_text(path, _FORM.signed(evaluation, key))


def open_evaluation(path: Path, *, study: Study) -> Evaluation:
    """Read an evaluation, or say in one line why it is refused.

    Raises:
        SubmissionError: The file is refused; always with exactly one problem.
        SignatureError: Its site did not sign it.
    """
    evaluation, where = _FORM.opened(path, study=study)
    for fault in _faults(evaluation, study):
        raise refused(where, fault, "another", REMEDY)
    return evaluation


def _faults(evaluation: Evaluation, study: Study) -> list[str]:
    """What does not fit the study, or itself."""
    classes = len(study.classes)
    told = [one for one in evaluation.classes if one.images]
    whole = all(
        (one.recall is not None and len(one.answers) == classes)
        if one.images
        else (one.recall is None and one.auroc is None and not one.answers)
        for one in evaluation.classes
    )
    wrong = {
        "an evaluation of this study": evaluation.study != study.digest,
        f"{classes} classes": len(evaluation.classes) != classes,
        "images of at least one class": not told,
        "metrics of the classes that have images, and of no others": not whole,
    }
    return [expected for expected, is_wrong in wrong.items() if is_wrong]
