"""Kaggle's diabetic retinopathy of 2015 (EyePACS): fundus photographs, both eyes of a patient.

    SOURCE/trainLabels.csv    image,level: `10_left,0`
    SOURCE/train/*.jpeg       10_left.jpeg; they may also lie in SOURCE itself

Levels are those of the international scale: 0 none, 1 mild, 2 moderate, 3 severe, 4
proliferative. What is before `_left` or `_right` is the patient.
"""

import re
from functools import partial
from pathlib import Path

from PIL import Image

from envoi.data.findings import refuse
from envoi.data.prepared import Source
from envoi.data.rows import read_columns
from envoi.data.sets.borders import without_borders
from envoi.data.sets.source import Files, Leniency, Scan, check_folder_of, match
from envoi.errors import Problem

NAME = "diabetic-retinopathy"
TABLE = "trainLabels.csv"
ENDINGS = (".jpeg", ".jpg")
REMEDY = (
    f"Give the folder with {TABLE} and train/*.jpeg of "
    "https://www.kaggle.com/c/diabetic-retinopathy-detection."
)
_EYE = re.compile(r"(.+)_(left|right)")
_LEVELS = ("0", "1", "2", "3", "4")


def pictures_folder(source: Path) -> Path:
    """Where the photographs of a source folder are.

    Raises:
        StorageError: The folder has no table.
    """
    check_folder_of(source, (TABLE,), remedy=REMEDY)
    train = source / "train"
    return train if train.is_dir() else source


def scan_diabetic_retinopathy(
    source: Path, files: Files, leniency: Leniency, *, crop_borders: bool = False
) -> Scan:
    """Read the table and match it with the photographs.

    Classes are `grade 0` to `grade 4`, as of RetinaMNIST, whose scale it is.

    Args:
        source: The folder.
        files: Its photographs.
        leniency: What may be wrong.
        crop_borders: Cut the black around the eye away (`envoi.data.sets.borders`).

    Raises:
        StorageError: The table cannot be read.
        DataError: A line is wrong, or a photograph is not there; all problems at once.
    """
    rows = read_columns(source / TABLE, ("image", "level"), what=TABLE, remedy=REMEDY)
    levels, lines, problems = _levels(rows)
    refuse(problems)
    matched = match(files.names, lines, leniency, table=TABLE)
    places = files.places()
    patients: dict[str, int] = {}
    sources = tuple(
        Source(
            partial(_picture, files, name, places[name], crop_borders=crop_borders),
            f"grade {levels[name]}",
            files.origin(name),
            patients.setdefault(name.rpartition("_")[0], len(patients)),
        )
        for name in matched.names
    )
    return Scan(NAME, sources, matched, {"crop_borders": crop_borders})


def _levels(
    rows: list[tuple[int, tuple[str, ...]]],
) -> tuple[dict[str, str], dict[str, int], list[Problem]]:
    """Levels and lines of the photographs, and what is wrong with the table."""
    levels: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems = []
    for line, (name, level) in rows:
        where = f"{TABLE}, line {line}"
        if not _EYE.fullmatch(name):
            found = "another name"
            problems.append(Problem("PATIENT_left or PATIENT_right", found, where, REMEDY))
        if level not in _LEVELS:
            remedy = "Correct the line, or get the table again."
            problems.append(Problem("a level from 0 to 4", "another", where, remedy))
        if name in lines:
            found = f"one also in line {lines[name]}"
            problems.append(Problem("each image once", found, where, "Remove one of the lines."))
        lines.setdefault(name, line)
        levels.setdefault(name, level)
    return levels, lines, problems


def _picture(files: Files, name: str, where: str, *, crop_borders: bool) -> Image.Image:
    picture = files.read(name, where)
    return without_borders(picture, where) if crop_borders else picture
