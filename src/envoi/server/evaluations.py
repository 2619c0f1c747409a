"""Evaluations that hospitals sent: the newest of each site about one student."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
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


def read_evaluations(
    inbox: Path, *, study: Study, student: str, revoked: Collection[str] = ()
) -> Evaluations:
    """Read every evaluation of an inbox; the inbox is not changed.

    A site that gave one number to several evaluations of the student has to send another: which
    of them it means is not guessed.

    Args:
        inbox: Where the sites' files arrive.
        study: Judges the files.
        student: SHA-256 of the student's file.
        revoked: Sites whose keys the coordinator has revoked.

    Raises:
        StorageError: The inbox cannot be read.
    """
    files: dict[Evaluation, str] = {}
    refused = []
    for path in _files(inbox):
        name = printable(path.name, NAME_LIMIT)
        try:
            evaluation = open_evaluation(path, study=study)
        except SubmissionError as err:
            refused.append(f"{name}: {err}")
            continue
        if evaluation.site in revoked:
            refused.append(f"{name}: the coordinator has revoked the key of {evaluation.site}")
            continue
        files.setdefault(evaluation, name)  # copies count once
    current = []
    for told in _by_site(one for one in files if one.student == student):
        number = max(one.sequence for one in told)
        newest = [one for one in told if one.sequence == number]
        if len(newest) == 1:
            current += newest
            continue
        site = newest[0].site
        remedy = f"have {site} send one with a higher number"
        refused += [
            f"{files[one]}: {site} gave number {number} to several evaluations: {remedy}"
            for one in newest
        ]
        files = {one: name for one, name in files.items() if one not in newest}
    return Evaluations(tuple(current), tuple(refused), len(files) - len(current))


def _by_site(evaluations: Iterable[Evaluation]) -> list[list[Evaluation]]:
    """Those of one site together, in the order of the sites."""
    ordered = sorted(evaluations, key=attrgetter("site"))
    return [list(told) for _, told in groupby(ordered, key=attrgetter("site"))]


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
