"""From `--data` to the images of one site, a public test set or a whole benchmark."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from envoi.data import (
    Columns,
    Fit,
    Listing,
    Reading,
    list_folder,
    list_table,
    list_unlabelled,
    load_folder,
    load_images,
    load_medmnist,
    load_table,
)
from envoi.data.prepared import REQUEST, TABLE
from envoi.data.splits import Indices
from envoi.errors import DataError, Problem, SettingsError
from envoi.files import read_text
from envoi.site import check_images
from envoi.study import Study
from envoi.types import DataSet, ImageSet, ImageSpec

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

    def reading(self) -> Reading:
        """What a reader may do.

        Raises:
            SettingsError: The fit is unknown.
        """
        _check_choice("--fit", self.fit, get_args(Fit))
        return Reading(fit=cast("Fit", self.fit), allow_channel_conversion=self.convert)

    def named_columns(self) -> Columns:
        """Names of a table's columns.

        Raises:
            SettingsError: One has another form, or an unknown meaning.
        """
        known = [field.name for field in fields(Columns)]
        named = dict(choice.partition("=")[::2] for choice in self.columns)
        if not all(key in known and name for key, name in named.items()):
            expected = f"MEANING=NAME with a meaning among {', '.join(known)}"
            remedy = "Write for instance --column patient=lesion_id."
            raise SettingsError(Problem(expected, ", ".join(self.columns)[:80], "--column", remedy))
        return Columns(**named)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Images, and which part of the data they are.

    Attributes:
        images: Read from it.
        split: One of `SPLITS`.
        is_own: Whether the data itself says which images are of that part.
    """

    images: ImageSet
    split: str
    is_own: bool

    def __str__(self) -> str:
        if self.is_own:
            return "all parts of the data" if self.split == "all" else f"its part {self.split}"
        if self.split == "all":
            return "all of the data, which has no parts of its own"
        return f"a part {self.split} split off at random: the data has no parts of its own"


def read_images(
    path: Path,
    *,
    study: Study,
    split: str | None = None,
    own: Literal["train", "test"] = "train",
    rows: Path | None = None,
    permissions: Permissions | None = None,
) -> ImageSet:
    """`read_part`, without saying which part it is."""
    found = read_part(path, study=study, split=split, own=own, rows=rows, permissions=permissions)
    return found.images


def read_part(
    path: Path,
    *,
    study: Study,
    split: str | None = None,
    own: Literal["train", "test"] = "train",
    rows: Path | None = None,
    permissions: Permissions | None = None,
) -> Part:
    """The images at `path` in the order of the file or folder, as `study` names their classes.

    Args:
        path: A MedMNIST-like .npz, a table (.csv), a prepared set or a folder of classes.
        study: Gives the classes and what images must look like.
        split: One of `SPLITS`; None is `own` where the data has parts of its own, and else `all`.
            Other parts of data that has none are split off at random, and only then.
        own: The part that is meant where the data has parts: `train` keeps its test images unseen.
        rows: A text file of row numbers within the split, from 0, one a line.
        permissions: None permits nothing.

    Raises:
        DataError: The images, the split or the rows are wrong, or do not fit the study.
        SettingsError: An option is wrong, or there is no reader for such a file.
        StorageError: A file cannot be read.
    """
    path, permissions = table_of(path), permissions or Permissions()
    _check_choice("--split", split, (*SPLITS, None))
    permissions.reading()
    if path.suffix == ".npz" and not path.is_dir():
        _check_unchanged(permissions)
        split, is_own = split or own, True
        images = _part(load_medmnist(path, class_names=study.classes), split)
        images = images if rows is None else images.subset(_numbers(rows, len(images)))
    else:
        listing = _listing(path, study, permissions)
        is_own = listing.part is not None
        split = split or (own if is_own else "all")
        chosen = _rows(listing, split)
        images = listing.read(chosen if rows is None else chosen[_numbers(rows, len(chosen))])
    check_images(images, study)
    return Part(images, split, is_own)


def read_unlabelled(
    path: Path,
    *,
    spec: ImageSpec,
    class_names: tuple[str, ...],
    split: str,
    permissions: Permissions,
) -> tuple[UInt8[NDArray[np.uint8], "image channel px px"], list[str]]:
    """Images whose labels, if there are any, are not read, and their files as paths below `path`.

    Raises:
        DataError: The images are wrong, or not as `spec` says.
        SettingsError: An option is wrong, or there is no reader for such a file.
        StorageError: A file cannot be read.
    """
    _check_choice("--split", split, SPLITS)
    path, reading = table_of(path), permissions.reading()
    if path.suffix == ".npz" and not path.is_dir():
        _check_unchanged(permissions)
        images = load_images(path, None if split == "all" else split)
        if images.shape[1:] != (spec.channels, spec.size_px, spec.size_px):
            expected = f"{spec.channels} channels and {spec.size_px} pixels, as the student's"
            remedy = "Prepare the images with these channels and this size."
            raise DataError(Problem(expected, f"shape {images.shape[1:]}", path.name, remedy))
        return images, []
    if not path.is_dir() and path.suffix != ".csv":
        raise _unreadable(path)
    columns = permissions.named_columns()
    listing = list_unlabelled(
        path, spec=spec, class_names=class_names, columns=columns, reading=reading
    )
    rows = np.arange(len(listing))
    if split != "all":
        if listing.part is None:
            raise _no_part(split)
        rows = _rows(listing, split)
    base = path if path.is_dir() else path.parent
    files = [listing.files[row].path for row in rows]
    return listing.read(rows).images, [os.path.relpath(file, base) for file in files]


def read_data_set(path: Path, spec: ImageSpec, permissions: Permissions) -> DataSet:
    """A table or folder with its parts, split if it has none; its name tells how it was read.

    Raises:
        DataError: The images are wrong.
        SettingsError: An option is wrong, or there is no reader for such a file.
        StorageError: A file cannot be read.
    """
    path, reading = table_of(path), permissions.reading()
    if path.is_dir():
        return load_folder(path, spec=spec, reading=reading)
    if path.suffix == ".csv":
        columns = permissions.named_columns()
        return load_table(path, spec=spec, reading=reading, columns=columns)
    raise _unreadable(path)


def table_of(path: Path) -> Path:
    """The table of a prepared set (`envoi data prepare`); any other path as it is.

    Raises:
        DataError: The set was not finished.
    """
    if not (path / REQUEST).is_file():
        return path
    if not (path / TABLE).is_file():
        remedy = "Run the command that prepares it again; it goes on from what is there."
        raise DataError(Problem("a finished set", "one without its table", path.name, remedy))
    return path / TABLE


def _check_unchanged(permissions: Permissions) -> None:
    """An .npz holds arrays of one size and colour, which are taken as they are."""
    if permissions.fit != "exact" or permissions.convert:
        remedy = "Leave them out, and prepare the arrays with the study's channels and size."
        expected = "no --fit and no --allow-channel-conversion with an .npz"
        raise SettingsError(Problem(expected, "one of them", "options", remedy))


def _check_choice(option: str, value: str | None, choices: Sequence[str | None]) -> None:
    if value not in choices:
        expected = f"one of {', '.join(choice for choice in choices if choice)}"
        raise SettingsError(Problem(expected, repr(value)[:80], option, "Choose one of them."))


def _listing(path: Path, study: Study, permissions: Permissions) -> Listing:
    names, reading = study.classes, permissions.reading()
    if path.is_dir():
        return list_folder(path, spec=study.image, class_names=names, reading=reading)
    if path.suffix == ".csv":
        columns = permissions.named_columns()
        return list_table(
            path, spec=study.image, class_names=names, reading=reading, columns=columns
        )
    raise _unreadable(path)


def _unreadable(path: Path) -> SettingsError:
    found = f"a file ending in {path.suffix!r}" if path.exists() else "nothing"
    remedy = "Give a MedMNIST .npz, a .csv table, or a folder with one sub-folder a class."
    return SettingsError(Problem("images", found, path.name, remedy))


def _rows(listing: Listing, split: str) -> Indices:
    """Row numbers of a part, in file order."""
    if split == "all":
        return np.arange(len(listing))
    rows = listing.rows(split)
    if not len(rows):
        raise _no_part(split)
    return rows


def _part(data: DataSet, split: str) -> ImageSet:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    if split == "all":
        return _joined([part for part in parts.values() if part is not None])
    part = parts[split]
    if part is None:
        raise _no_part(split)
    return part


def _no_part(split: str) -> DataError:
    remedy = "Choose another --split."
    return DataError(Problem(f"a part called {split}", "none", "images", remedy))


def _joined(parts: list[ImageSet]) -> ImageSet:
    """Parts of a file that knows no patients and no sites, one after the other."""
    images = np.concatenate([part.images for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    return ImageSet(images, labels, parts[0].class_names)


def _numbers(file: Path, count: int) -> list[int]:
    text = read_text(file, what="a file of row numbers", remedy="Write one number a line.")
    wrong = [word for word in text.split() if not (word.isdecimal() and int(word) < count)]
    numbers = [int(word) for word in text.split() if word.isdecimal()]
    if wrong or not numbers or len(set(numbers)) < len(numbers):
        found = ascii(wrong[0])[:80] if wrong else "no number, or one twice"
        remedy = "Write each row once, one a line, counted from 0."
        raise DataError(Problem(f"numbers from 0 to {count - 1}", found, file.name, remedy))
    return numbers
