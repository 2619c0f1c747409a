"""From `--data` to the images of one site."""

from pathlib import Path

import numpy as np

from envoi.data import load_folder, load_medmnist, load_table
from envoi.errors import DataError, Problem, SettingsError
from envoi.files import read_text
from envoi.study import Study
from envoi.types import DataSet, ImageSet

SPLITS = ("train", "validation", "test", "all")


def read_images(path: Path, *, study: Study, split: str, rows: Path | None = None) -> ImageSet:
    """The images at `path`: a MedMNIST-like .npz, a table (.csv), or a folder of classes.

    Args:
        path: Its kind is told by its ending, never guessed from its content.
        study: Gives the classes and what images must look like.
        split: One of `SPLITS`.
        rows: A text file of row numbers within the split, from 0, one a line.

    Raises:
        DataError: The images, the split or the rows are wrong.
        SettingsError: There is no such split, or no reader for such a file.
        StorageError: A file cannot be read.
    """
    if split not in SPLITS:
        expected = f"one of {', '.join(SPLITS)}"
        raise SettingsError(Problem(expected, repr(split)[:80], "--split", "Choose one of them."))
    images = _part(_data_set(path, study), split)
    return images if rows is None else images.subset(_row_numbers(rows, len(images)))


def _data_set(path: Path, study: Study) -> DataSet:
    if path.is_dir():
        return load_folder(path, spec=study.image, class_names=study.classes)
    if path.suffix == ".npz":
        return load_medmnist(path, class_names=study.classes)
    if path.suffix == ".csv":
        return load_table(path, spec=study.image, class_names=study.classes)
    found = f"a file ending in {path.suffix!r}" if path.exists() else "nothing"
    remedy = "Give a MedMNIST .npz, a .csv table, or a folder with one sub-folder a class."
    raise SettingsError(Problem("images", found, f"--data {path.name}", remedy))


def _part(data: DataSet, split: str) -> ImageSet:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    if split == "all":
        return _joined([part for part in parts.values() if part is not None])
    part = parts[split]
    if part is None:
        remedy = "Choose another --split."
        raise DataError(Problem(f"a part called {split}", "none", data.name, remedy))
    return part


def _joined(parts: list[ImageSet]) -> ImageSet:
    patients = [part.patients for part in parts if part.patients is not None]
    return ImageSet(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        parts[0].class_names,
        np.concatenate(patients) if len(patients) == len(parts) else None,
    )


def _row_numbers(file: Path, count: int) -> list[int]:
    text = read_text(file, what="a file of row numbers", remedy="Write one number a line.")
    wrong = [word for word in text.split() if not (word.isdecimal() and int(word) < count)]
    numbers = [int(word) for word in text.split() if word.isdecimal()]
    if wrong or not numbers or len(set(numbers)) < len(numbers):
        found = ascii(wrong[0])[:80] if wrong else "no number, or one twice"
        remedy = "Write each row once, one a line, counted from 0."
        raise DataError(Problem(f"numbers from 0 to {count - 1}", found, file.name, remedy))
    return numbers
