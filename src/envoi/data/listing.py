"""A set of picture files before its pictures are read: what lies where, in file order.

Pictures are read when rows are asked for, and only those; a set is split only when a part is
asked for and it has none of its own.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from envoi.data.findings import merged
from envoi.data.pictures import PictureFile, Reading, read_pictures
from envoi.data.splits import PARTS, Indices, SplitPlan, cut, split_images
from envoi.errors import DataError, Problem
from envoi.types import DataSet, ImageSet, ImageSpec

_COUNTED = " (files are counted and not named, since a name may identify a patient)"


@dataclass(frozen=True, slots=True, eq=False)
class Listing:
    """What a table or a folder lists, row after row.

    Attributes:
        name: Of the set.
        files: The pictures, in the order of the file or folder.
        labels: `(row,)`, an index into `class_names`.
        class_names: In label order.
        part: `(row,)`, 0 trains, 1 validates, 2 tests; None where the set has no parts.
        patients: `(row,)` group codes, or None.
        sites: `(row,)` names, or None.
        spec: What the pictures must look like.
        reading: What may be done to them.
        problems: All that is wrong with the list itself; with any, nothing can be read.
    """

    name: str
    files: list[PictureFile]
    labels: Indices
    class_names: tuple[str, ...]
    part: Indices | None
    patients: Indices | None
    sites: NDArray[np.character] | None
    spec: ImageSpec
    reading: Reading
    problems: list[Problem]

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, part: str, plan: SplitPlan | None = None) -> Indices:
        """Rows of one of `PARTS`, ascending; of its own parts, or else of a split by `plan`.

        Raises:
            DataError: The list is wrong, or it cannot be split.
        """
        if self.problems:
            self.read(np.arange(len(self)))
        if self.part is not None:
            return np.flatnonzero(self.part == PARTS[part])
        return split_images(self.labels, self.patients, plan or SplitPlan()).parts[PARTS[part]]

    def read(self, rows: Indices) -> ImageSet:
        """The pictures of `rows`, in that order.

        Raises:
            DataError: The list or a picture is wrong; all problems at once, of all pictures if
                the list is wrong.
        """
        if self.problems:
            rows = np.arange(len(self))
        files = [self.files[row] for row in rows]
        images, unread = read_pictures(files, spec=self.spec, reading=self.reading)
        told = merged([*self.problems, *unread])
        if told:
            raise DataError(*(_explained(problem) for problem in told))
        return ImageSet(
            images,
            self.labels[rows],
            self.class_names,
            None if self.patients is None else self.patients[rows],
            None if self.sites is None else self.sites[rows],
        )

    def read_parts(self, plan: SplitPlan | None = None) -> DataSet:
        """All pictures, in the set's own parts or else split by `plan`.

        Raises:
            DataError: The list or a picture is wrong, or it cannot be split.
        """
        parts = [self.rows(part, plan) for part in ("train", "validation", "test")]
        train, validation, test = (len(rows) for rows in parts)
        return cut(self.read(np.concatenate(parts)), self.name, (train, validation, test))


def _explained(problem: Problem) -> Problem:
    """Say once why a file is not named."""
    if ", file " not in problem.where and ", files " not in problem.where:
        return problem
    return replace(problem, where=problem.where + _COUNTED)
