"""From `--data` to the images of one site."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast, get_args

import numpy as np

from envoi.data import Columns, Fit, Reading, load_folder, load_medmnist, load_table
from envoi.data.splits import PARTS
from envoi.errors import DataError, Problem, SettingsError
from envoi.files import read_text
from envoi.study import Study
from envoi.types import DataSet, ImageSet

SPLITS = ("train", "validation", "test", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What may be done to a site's images, and how its table is read.

    Attributes:
        fit: `exact`, `resize` or `crop` (`envoi.data.Reading`).
        convert: Whether grey may be taken as colour and colour as grey.
        columns: Of a table, each as MEANING=NAME (`envoi.data.Columns`).
    """

    fit: str = "exact"
    convert: bool = False
    columns: Sequence[str] = ()


def read_images(
    path: Path,
    *,
    study: Study,
    split: str | None = None,
    rows: Path | None = None,
    permissions: Permissions | None = None,
) -> ImageSet:
    """The images at `path`, as `study` names their classes.

    Args:
        path: A MedMNIST-like .npz, a table (.csv) or a folder; told by its ending alone.
        study: Gives the classes and what images must look like.
        split: One of `SPLITS`; None is `train` where the data has parts of its own, so that its
            test images stay unseen, and else `all`.
        rows: A text file of row numbers within the split, from 0, one a line.
        permissions: None permits nothing.

    Raises:
        DataError: The images, the split or the rows are wrong.
        SettingsError: An option is wrong, or there is no reader for such a file.
        StorageError: A file cannot be read.
    """
    permissions = permissions or Permissions()
    _check_choice("--split", split, (*SPLITS, None))
    _check_choice("--fit", permissions.fit, get_args(Fit))
    data, has_parts = _data_set(path, study, permissions)
    images = _part(data, split or ("train" if has_parts else "all"))
    return images if rows is None else images.subset(_numbers(rows, len(images)))


def _check_choice(option: str, value: str | None, choices: Sequence[str | None]) -> None:
    if value not in choices:
        expected = f"one of {', '.join(choice for choice in choices if choice)}"
        raise SettingsError(Problem(expected, repr(value)[:80], option, "Choose one of them."))


def _data_set(path: Path, study: Study, permissions: Permissions) -> tuple[DataSet, bool]:
    """The whole set, and whether its parts are its own."""
    names, fit = study.classes, cast("Fit", permissions.fit)
    reading = Reading(fit=fit, allow_channel_conversion=permissions.convert)
    if path.is_dir():
        has_parts = any((path / part).is_dir() for part in PARTS)
        return load_folder(path, spec=study.image, class_names=names, reading=reading), has_parts
    if path.suffix == ".npz":
        return load_medmnist(path, class_names=names), True
    if path.suffix == ".csv":
        columns = _columns(permissions.columns)
        data = load_table(
            path, spec=study.image, class_names=names, reading=reading, columns=columns
        )
        text = read_text(path, what="a table of images", remedy="Give a CSV file.")
        header = next(csv.reader(text.removeprefix("\ufeff").splitlines()))
        return data, (columns.split or "split") in header
    found = f"a file ending in {path.suffix!r}" if path.exists() else "nothing"
    remedy = "Give a MedMNIST .npz, a .csv table, or a folder with one sub-folder a class."
    raise SettingsError(Problem("images", found, f"--data {path.name}", remedy))


def _columns(choices: Sequence[str]) -> Columns:
    known = [field.name for field in fields(Columns)]
    named = dict(choice.partition("=")[::2] for choice in choices)
    if not all(key in known and name for key, name in named.items()):
        expected = f"MEANING=NAME with a meaning among {', '.join(known)}"
        remedy = "Write for instance --column patient=lesion_id."
        raise SettingsError(Problem(expected, ", ".join(choices)[:80], "--column", remedy))
    return Columns(**named)


def _part(data: DataSet, split: str) -> ImageSet:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    if split == "all":
        return _joined([part for part in parts.values() if part is not None])
    part = parts[split]
    if part is None:
        remedy = "Choose another --split."
        raise DataError(Problem(f"a part called {split}", "none", "images", remedy))
    return part


def _joined(parts: list[ImageSet]) -> ImageSet:
    patients = [part.patients for part in parts if part.patients is not None]
    return ImageSet(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        parts[0].class_names,
        np.concatenate(patients) if len(patients) == len(parts) else None,
    )


def _numbers(file: Path, count: int) -> list[int]:
    text = read_text(file, what="a file of row numbers", remedy="Write one number a line.")
    wrong = [word for word in text.split() if not (word.isdecimal() and int(word) < count)]
    numbers = [int(word) for word in text.split() if word.isdecimal()]
    if wrong or not numbers or len(set(numbers)) < len(numbers):
        found = ascii(wrong[0])[:80] if wrong else "no number, or one twice"
        remedy = "Write each row once, one a line, counted from 0."
        raise DataError(Problem(f"numbers from 0 to {count - 1}", found, file.name, remedy))
    return numbers
