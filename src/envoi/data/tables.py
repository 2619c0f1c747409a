"""Tables of images: a CSV file with a row for each picture, and the patient it is of.

The columns are `path` and `label`, and where the set has them `patient`, `split` and `site`.
A table is the form to use when patients have several images: splits are then disjoint by
patient, always.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from envoi.data.listing import Listing
from envoi.data.pictures import PictureFile, Reading
from envoi.data.rows import Columns, Table, read_table
from envoi.data.splits import PARTS, Indices, SplitPlan
from envoi.errors import Problem
from envoi.types import DataSet, ImageSpec


def load_table(
    path: Path,
    *,
    spec: ImageSpec,
    class_names: Sequence[str] | None = None,
    columns: Columns | None = None,
    reading: Reading | None = None,
    split: SplitPlan | None = None,
    root: Path | None = None,
) -> DataSet:
    """Read the pictures that a CSV file lists.

    Args:
        path: The table: UTF-8, commas, a first line of column names.
        spec: Channels and size of the images.
        class_names: The study's classes, in order; one that no row names has no images here. By
            default the sorted labels, or `0`, `1`, ... when all labels are numbers.
        columns: Names of the columns.
        reading: What may be done to a picture that is not as `spec` says; by default nothing.
        split: Fractions and seed of the split, where the table has no such column.
        root: Folder that paths start from and must not leave; by default the table's own.

    Raises:
        StorageError: The table cannot be read.
        DataError: A line or a picture is wrong, a patient is in two parts, or all pictures are
            of one patient; all problems at once.
    """
    listing = list_table(
        path, spec=spec, class_names=class_names, columns=columns, reading=reading, root=root
    )
    if listing.part is not None:
        empty = list(_empty_parts(listing.part))
        listing = replace(listing, problems=[*listing.problems, *empty])
    return listing.read_parts(split)


def list_table(
    path: Path,
    *,
    spec: ImageSpec,
    class_names: Sequence[str] | None = None,
    columns: Columns | None = None,
    reading: Reading | None = None,
    root: Path | None = None,
) -> Listing:
    """The pictures of a table in the order of its rows, not read yet.

    Arguments are those of `load_table`; a part may be missing.

    Raises:
        StorageError: The table cannot be read.
        DataError: Its header or its cells are wrong.
    """
    table = read_table(path, columns or Columns())
    names, labels, problems = _classes(table, class_names)
    files, misplaced = picture_files(table, root or path.parent)
    patients = None if table.patients is None else _codes(table.patients)
    splits = table.splits
    return Listing(
        name=path.stem,
        files=files,
        labels=labels,
        class_names=names,
        part=None if splits is None else np.array([PARTS.get(text, -1) for text in splits]),
        patients=patients,
        sites=None if table.sites is None else np.array(table.sites),
        spec=spec,
        reading=reading or Reading(),
        problems=[*problems, *misplaced, *_problems_of_parts(table, patients)],
    )


def _classes(
    table: Table, class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], Indices, list[Problem]]:
    """Class names, labels (0 where unknown) and what is wrong with them."""
    numbered = all(label.isdecimal() for label in table.labels)
    if class_names:
        names = tuple(class_names)
    elif numbered:
        # No set has more classes than rows; a larger number is told as an unknown label.
        highest = max(int(label) if len(label) < 9 else len(table) for label in table.labels)
        highest = min(highest, len(table))
        names = tuple(str(number) for number in range(highest + 1))
    else:
        names = tuple(sorted(set(table.labels)))
    by_name = not numbered or set(table.labels) <= set(names)
    known = {name: index for index, name in enumerate(names)}
    if not by_name:
        known = {str(index): index for index in range(len(names))}
    remedy = "Name the class as the study does, or by its number from 0."
    expected = f"a label among {', '.join(names[:20])}" + (", ..." if len(names) > 20 else "")
    problems = [
        Problem(expected, "another", f"table, line {line}", remedy)
        for line, label in zip(table.lines, table.labels, strict=True)
        if label not in known
    ]
    labels = np.array([known.get(label, 0) for label in table.labels], np.int64)
    if not class_names:
        problems += _problems_of_classes(names, labels)
    return names, labels, problems


def _problems_of_classes(names: tuple[str, ...], labels: Indices) -> Iterator[Problem]:
    """Gaps in numbered labels, and a set of one class."""
    for label in np.setdiff1d(np.arange(len(names)), labels):
        remedy = "Add images of the class, or list the classes (in Python: class_names=...)."
        yield Problem("at least one picture", "none", f"class {names[label]!r}", remedy)
    if len(names) < 2:
        remedy = "Add images of another class, or list the classes (in Python: class_names=...)."
        yield Problem("at least two classes", f"{len(names)}", "table, labels", remedy)


def picture_files(table: Table, root: Path) -> tuple[list[PictureFile], list[Problem]]:
    """The files by line, and which of them lie elsewhere or come twice."""
    # Links are not followed: whoever may put one below the root decides where it leads.
    base = Path(os.path.normpath(root))
    files, problems = [], []
    seen: dict[Path, int] = {}
    for line, text in zip(table.lines, table.paths, strict=True):
        where = f"table, line {line}"
        path = Path(os.path.normpath(base / text))
        files.append(PictureFile(path, where))
        if not path.is_relative_to(base):
            remedy = (
                "Move the picture below the table's folder (in Python, root=... names another)."
            )
            problems.append(Problem("a path below the root folder", "one outside", where, remedy))
        if path in seen:
            remedy = "Remove one of the lines, or a picture may train and test at once."
            found = f"the file of line {seen[path]}"
            problems.append(Problem("each file once", found, where, remedy))
        seen.setdefault(path, line)
    return files, problems


def _problems_of_parts(table: Table, patients: Indices | None) -> Iterator[Problem]:
    """Unknown parts, and patients who are in two."""
    if table.splits is None:
        return
    expected = f"one of {', '.join(PARTS)}"
    first: dict[int, tuple[int, int]] = {}
    for row, (line, text) in enumerate(zip(table.lines, table.splits, strict=True)):
        if text not in PARTS:
            remedy = "Name the part, in lower case."
            yield Problem(expected, "another word", f"table, line {line}", remedy)
        elif patients is not None:
            part, earlier = first.setdefault(int(patients[row]), (PARTS[text], line))
            if part != PARTS[text]:
                remedy = "Put all pictures of a patient into one part."
                found = f"one also in the part of line {earlier}"
                where = f"table, line {line}"
                yield Problem("each patient in one part", found, where, remedy)


def _empty_parts(part: Indices) -> Iterator[Problem]:
    for name in ("train", "test"):
        if not (part == PARTS[name]).any():
            remedy = "Add such rows, or leave the split column out to have the set split."
            yield Problem("rows to train on and to test on", "none", f"table, part {name}", remedy)


def _codes(patients: list[str]) -> Indices:
    """0, 1, ... by first appearance, so that nothing of the name is left."""
    codes: dict[str, int] = {}
    return np.array([codes.setdefault(name, len(codes)) for name in patients], np.int64)
