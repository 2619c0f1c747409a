"""Image folders: one sub-folder for each class, optionally below `train`, `val` and `test`.

A folder does not say which images belong to one patient. Where patients have several images,
use a table (`envoi.data.tables`), or patients will be in training and test at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from envoi.data.listing import Listing
from envoi.data.pictures import ENDINGS, PictureFile, Reading
from envoi.data.splits import PARTS, Indices, SplitPlan
from envoi.errors import Problem, StorageError
from envoi.types import DataSet, ImageSpec
from envoi.wording import counted

_LITTER = {"Thumbs.db", "desktop.ini"}


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder of class folders; `part` is -1 where the set has no splits of its own."""

    folder: Path
    part: int
    prefix: str


@dataclass(frozen=True, slots=True)
class _Entry:
    file: PictureFile
    label: int
    part: int


def load_folder(
    path: Path,
    *,
    spec: ImageSpec,
    class_names: Sequence[str] | None = None,
    reading: Reading | None = None,
    split: SplitPlan | None = None,
) -> DataSet:
    """Read PNG, JPEG, TIFF and BMP files from a folder for each class.

    When the top level holds folders called `train` and `test` (and perhaps `val` or
    `validation`), they are the parts, and the class folders lie below them; else the images are
    split by `split`, stratified by class. Files are taken in the order of their names; hidden
    ones are passed over.

    Args:
        path: The folder.
        spec: Channels and size of the images.
        class_names: The study's classes, in order; one without a folder has no images here. By
            default the sorted names of the folders.
        reading: What may be done to a picture that is not as `spec` says; by default nothing.
        split: Fractions and seed of the split, where the folder has none.

    Raises:
        StorageError: The folder is missing or cannot be listed.
        DataError: A folder, a class or a picture is wrong; all problems at once.
    """
    listing = list_folder(path, spec=spec, class_names=class_names, reading=reading)
    if listing.part is not None:
        empty = list(_empty_parts(listing.part))
        listing = replace(listing, problems=[*listing.problems, *empty])
    return listing.read_parts(split)


def list_folder(
    path: Path,
    *,
    spec: ImageSpec,
    class_names: Sequence[str] | None = None,
    reading: Reading | None = None,
) -> Listing:
    """The pictures of a folder, in the order of parts, classes and file names, not read yet.

    Arguments are those of `load_folder`; a part may be missing.

    Raises:
        StorageError: The folder is missing or cannot be listed.
    """
    try:
        problems, names, entries = _survey(path, class_names)
    except OSError as err:
        found = err.strerror or "an error of the file system"
        remedy = "Give a folder with one sub-folder for each class."
        # The cause is dropped: it names files, and a name may identify a patient.
        raise StorageError(Problem("a folder of images", found, "image folder", remedy)) from None
    part = np.array([entry.part for entry in entries], np.int64)
    has_parts = any(folder.name in PARTS for folder in _folders(path))
    return Listing(
        name=path.name,
        files=[entry.file for entry in entries],
        labels=np.array([entry.label for entry in entries], np.int64),
        class_names=names,
        part=part if has_parts else None,
        patients=None,
        sites=None,
        spec=spec,
        reading=reading or Reading(),
        problems=problems,
    )


def _survey(
    path: Path, class_names: Sequence[str] | None
) -> tuple[list[Problem], tuple[str, ...], list[_Entry]]:
    """What is wrong with the folders, the class names, and all pictures in order."""
    places, problems = _places(path)
    present = {folder.name for place in places for folder in _folders(place.folder)}
    names = tuple(class_names or sorted(present))
    if len(names) < 2 or not present & set(names):
        expected = f"folders called {', '.join(names)}" if class_names else "two class folders"
        found = (
            f"{counted(len(present), 'folder')}, none of these"
            if class_names
            else f"{len(present)}"
        )
        remedy = "Put the images of each class into a folder that bears its name."
        problems.append(Problem(expected, found, "image folder", remedy))
    entries: list[_Entry] = []
    for place in places:
        problems += _strays(place, names)
        for label, name in enumerate(names):
            more, own = _pictures_of(place, name, label)
            problems += more
            entries += own
    problems += _empty_classes(names, present, entries)
    return problems, names, entries


def _places(path: Path) -> tuple[list[_Place], list[Problem]]:
    """Where class folders lie: in the folder itself, or in its parts."""
    top = _folders(path)
    if not any(folder.name in PARTS for folder in top):
        return [_Place(path, -1, "")], []
    places = [_Place(f, PARTS[f.name], f"{f.name}, ") for f in top if f.name in PARTS]
    remedy = "Move it out of the data set: its images belong to no part."
    where = "image folder"
    expected = f"only folders called {', '.join(PARTS)} where one of them is there"
    others = len(top) - len(places)
    problems = [Problem(expected, f"{others} of other names", where, remedy)] if others else []
    return sorted(places, key=lambda place: place.part), problems


def _strays(place: _Place, names: tuple[str, ...]) -> Iterator[Problem]:
    """Folders of no class, and files beside the class folders."""
    where = f"{place.prefix}class folders"
    unknown = sum(folder.name not in names for folder in _folders(place.folder))
    if unknown:
        expected = f"only folders called {', '.join(names)}"
        remedy = "Rename the folders as the study names its classes, or move them away."
        yield Problem(expected, f"{unknown} of other names", where, remedy)
    loose = len(_files(place.folder))
    if loose:
        remedy = "Move each picture into the folder of its class, and other files away."
        yield Problem("only folders", f"{counted(loose, 'file')} beside them", where, remedy)


def _pictures_of(place: _Place, name: str, label: int) -> tuple[list[Problem], list[_Entry]]:
    """The pictures of one class in one part, and what else lies there."""
    folders = [folder for folder in _folders(place.folder) if folder.name == name]
    problems, entries = [], []
    for folder in folders:
        where = f"{place.prefix}class {name!r}"
        nested = len(_folders(folder))
        if nested:
            remedy = "Move the pictures up into the folder of their class."
            problems.append(Problem("only pictures", counted(nested, "folder"), where, remedy))
        for number, file in enumerate(_files(folder), start=1):
            named = f"{where}, file {number} in name order"
            if file.suffix.lower() in ENDINGS:
                entries.append(_Entry(PictureFile(file, named), label, place.part))
            else:
                expected = f"only files ending in {', '.join(ENDINGS)}"
                remedy = "Convert it to PNG, or move it away."
                problems.append(Problem(expected, "another ending", named, remedy))
    return problems, entries


def _empty_classes(
    names: tuple[str, ...], present: set[str], entries: list[_Entry]
) -> Iterator[Problem]:
    held = {entry.label for entry in entries}
    for label, name in enumerate(names):
        if name in present and label not in held:
            remedy = "Add images of the class, or remove its folder if there are none."
            yield Problem("at least one picture", "none", f"class {name!r}", remedy)


def _empty_parts(part: Indices) -> Iterator[Problem]:
    for name in ("train", "test"):
        if not (part == PARTS[name]).any():
            remedy = f"Add a folder {name!r}, or keep the class folders at the top."
            yield Problem("pictures to train on and to test on", "none", f"{name} part", remedy)


def _folders(path: Path) -> list[Path]:
    return sorted(item for item in path.iterdir() if item.is_dir() and not _is_hidden(item))


def _files(path: Path) -> list[Path]:
    return sorted(item for item in path.iterdir() if not item.is_dir() and not _is_hidden(item))


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _LITTER
