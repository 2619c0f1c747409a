"""Evaluations that hospitals sent: the newest of each site about one student."""

import os
from dataclasses import dataclass
from pathlib import Path

from envoi.errors import Problem, StorageError, SubmissionError
from envoi.server.ledger import NAME_LIMIT, printable
from envoi.study import Study
from envoi.submission.evaluation import SUFFIX, Evaluation, open_evaluation


@dataclass(frozen=True, slots=True)
class Evaluations:
    """What an inbox holds of them.

    Attributes:
        current: The newest of each site about the student, by site.
        refused: Name and reason of each file that is none, or not believed.
        others: How many were of other students, or replaced by a newer one.
    """

    current: tuple[Evaluation, ...]
    refused: tuple[str, ...]
    others: int


def read_evaluations(inbox: Path, *, study: Study, student: str) -> Evaluations:
    """Read every evaluation of an inbox; the inbox is not changed.

    Args:
        inbox: Where the sites' files arrive.
        study: Judges the files.
        student: SHA-256 of the student's file.

    Raises:
        StorageError: The inbox cannot be read.
    """
    found: dict[str, Evaluation] = {}
    refused, total = [], 0
    for path in _files(inbox):
        try:
            evaluation = open_evaluation(path, study=study)
        except SubmissionError as err:
            refused.append(f"{printable(path.name, NAME_LIMIT)}: {err}")
            continue
        total += 1
        before = found.get(evaluation.site)
        if evaluation.student == student and (
            before is None or evaluation.sequence > before.sequence
        ):
            found[evaluation.site] = evaluation
    current = tuple(found[site] for site in sorted(found))
    return Evaluations(current, tuple(refused), total - len(current))


def _files(inbox: Path) -> list[Path]:
    """Regular files that bear the name of an evaluation, in order."""
    try:
        with os.scandir(inbox) as entries:
            found = sorted(
                entry.path
                for entry in entries
                if entry.name.endswith(SUFFIX)
                and not entry.name.startswith(".")
                and entry.is_file(follow_symlinks=False)
            )
    except OSError as err:
        remedy = "Give the folder in which the sites' files arrive."
        what = err.strerror or "an error"
        raise StorageError(Problem("a readable inbox", what, inbox.name, remedy)) from err
    return [Path(path) for path in found]
