"""Pictures to be classified: whatever lies there, with labels or without, which nobody reads."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from envoi.data.listing import Listing
from envoi.data.pictures import ENDINGS, PictureFile, Reading
from envoi.data.rows import Columns, read_table
from envoi.data.splits import PARTS
from envoi.data.tables import picture_files
from envoi.errors import Problem, StorageError
from envoi.types import ImageSpec


def list_unlabelled(
    path: Path,
    *,
    spec: ImageSpec,
    class_names: tuple[str, ...],
    columns: Columns | None = None,
    reading: Reading | None = None,
) -> Listing:
    """The pictures that a table names, or all below a folder; every label is 0 and means nothing.

    Args:
        path: A .csv file with a column `path`, or a folder: its pictures and those of all folders
            below it, in the order of their paths; hidden ones and other files are passed over.
            Where it holds folders called as parts are (`train`, `test`), they are the parts.
        spec: Channels and size of the images.
        class_names: Of whoever is to classify them.
        columns: Names of the table's columns.
        reading: What may be done to a picture that is not as `spec` says; by default nothing.

    Raises:
        StorageError: It cannot be read, or there is no picture.
        DataError: The table's header or its cells are wrong.
    """
    if path.is_dir():
        files, problems, parts = _below(path), list[Problem](), None
        words = [file.path.relative_to(path).parts[0] for file in files]
        if any(word in PARTS for word in words):
            parts = np.array([PARTS.get(word, -1) for word in words])
    else:
        columns = columns or Columns()
        # Paths stand in for the labels that a table need not have.
        table = read_table(path, replace(columns, label=columns.path))
        files, problems = picture_files(table, path.parent)
        splits = table.splits
        parts = None if splits is None else np.array([PARTS.get(text, -1) for text in splits])
    return Listing(
        name=path.stem,
        files=files,
        labels=np.zeros(len(files), np.int64),
        class_names=class_names,
        part=parts,
        patients=None,
        sites=None,
        spec=spec,
        reading=reading or Reading(),
        problems=problems,
    )


def _below(folder: Path) -> list[PictureFile]:
    """All pictures, called by their place in the order of names."""
    try:
        found = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in ENDINGS and file.is_file() and not _is_hidden(file, folder)
        )
    except OSError as err:
        words = err.strerror or "an error of the file system"
        remedy = "Give a folder of pictures."
        # The cause is dropped: it names files, and a name may identify a patient.
        raise StorageError(Problem("a folder of images", words, "image folder", remedy)) from None
    if not found:
        remedy = f"Give a folder with pictures ending in {', '.join(ENDINGS)}."
        raise StorageError(Problem("pictures", "none", "image folder", remedy))
    return [
        PictureFile(file, f"image folder, file {number} in name order")
        for number, file in enumerate(found, start=1)
    ]


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)
