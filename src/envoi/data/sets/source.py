"""Pictures that a publisher names, and the labels that name them: matched before any is opened."""

import io
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from envoi.data.findings import refuse
from envoi.data.pictures import whole_picture
from envoi.data.prepared import Pictures, Source, write_prepared
from envoi.errors import DataError, Problem, StorageError
from envoi.files import file_stamp
from envoi.progress import OnStep, ignore_step

_MOST_BYTES = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class Leniency:
    """What may be wrong with a public set.

    Attributes:
        allow_missing: Labels may name pictures that are not there; they are passed over.
        leave_out_unreadable: Pictures that cannot be read are left out of the set.
    """

    allow_missing: bool = False
    leave_out_unreadable: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """What is both there and labelled.

    Attributes:
        names: Of the pictures, without ending, in name order.
        unlabelled: Pictures that no label names; they are passed over.
        missing: Labels passed over because their picture is not there.
    """

    names: tuple[str, ...]
    unlabelled: int
    missing: int


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """A public set, before a pixel is read.

    Attributes:
        kind: The set's name.
        sources: Its pictures.
        matched: What of the folder they are.
        settings: What was chosen, for `prepared.json`.
        unreadable: Files left out already, by permission.
    """

    kind: str
    sources: tuple[Source, ...]
    matched: Matched
    settings: Mapping[str, Any]
    unreadable: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """Files of one kind, by their names without ending.

    Attributes:
        what: What messages call them; each is told by its place in name order.
        read: A picture of a name, and of what messages call it.
        names: All, in order.
        stamp: What tells the file of a name from what it was in another state.
    """

    what: str
    read: Callable[[str, str], Image.Image]
    names: tuple[str, ...]
    stamp: Callable[[str], str]

    def places(self) -> dict[str, str]:
        """What messages call each: its place, never its name."""
        return {
            name: f"{self.what}, file {number} in name order"
            for number, name in enumerate(self.names, start=1)
        }

    def origin(self, name: str) -> str:
        """Of the picture of a name, for `Source`."""
        return f"{name}\n{self.stamp(name)}"


def paths_in(folder: Path, endings: Collection[str], *, what: str, remedy: str) -> dict[str, Path]:
    """All files at any depth with one of the endings, by name without it, in name order.

    Hidden files and folders are passed over.

    Raises:
        StorageError: The folder cannot be read, or holds none.
        DataError: Two have the same name.
    """
    try:
        found = [
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in endings
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and path.is_file()
        ]
    except OSError as err:
        words = err.strerror or "an error of the file system"
        raise StorageError(Problem(f"a folder of {what}", words, what, remedy)) from None
    if not found:
        kinds = " or ".join(sorted(endings))
        raise StorageError(Problem(f"a folder of {kinds} files", "none", what, remedy))
    return _by_stem({path: path.stem for path in found}, what)


@contextmanager
def pictures_in(
    place: Path, endings: Collection[str], *, what: str, remedy: str
) -> Iterator[Files]:
    """Pictures of a folder, or of a zip file that is read without unpacking it.

    Raises:
        StorageError: There are none, or the zip file is damaged.
        DataError: Two have the same name.
    """
    if place.suffix.lower() != ".zip":
        paths = paths_in(place, endings, what=what, remedy=remedy)
        yield Files(
            what,
            lambda name, where: whole_picture(paths[name], where),
            tuple(paths),
            lambda name: file_stamp(paths[name]),
        )
        return
    try:
        archive = zipfile.ZipFile(place)
    except (OSError, zipfile.BadZipFile):
        raise StorageError(Problem("a whole zip file", "another", what, remedy)) from None
    with archive:
        members = {
            member: PurePosixPath(member.filename).stem
            for member in archive.infolist()
            if PurePosixPath(member.filename).suffix.lower() in endings
            and not member.filename.startswith("__MACOSX")
        }
        by_stem = _by_stem(members, what)
        if not by_stem:
            raise StorageError(Problem("pictures in the zip file", "none", what, remedy))
        yield Files(
            what,
            lambda name, at: _member(archive, by_stem[name], at),
            tuple(by_stem),
            lambda name: f"{by_stem[name].file_size} {by_stem[name].CRC}",
        )


def match(
    names: Collection[str], lines: Mapping[str, int], leniency: Leniency, *, table: str
) -> Matched:
    """Pictures that a table labels.

    Args:
        names: Of the pictures, in order.
        lines: Where the table names each picture that it labels.
        leniency: Whether pictures may be missing.
        table: What messages call the table.

    Raises:
        DataError: Pictures are missing, or none is labelled.
    """
    there = set(names)
    missing = [line for name, line in lines.items() if name not in there]
    if not leniency.allow_missing:
        remedy = "Add the pictures, or permit it with --allow-missing (in Python: allow_missing)."
        expected = "the picture that each line labels"
        refuse(Problem(expected, "none", f"{table}, line {line}", remedy) for line in missing)
    labelled = tuple(name for name in names if name in lines)
    if not labelled:
        remedy = "Look whether pictures and table are of the same set."
        raise DataError(Problem("pictures that the table labels", "none", table, remedy))
    return Matched(labelled, len(names) - len(labelled), len(missing))


def write_scan(
    out: Path,
    scan: Scan,
    pictures: Pictures,
    leniency: Leniency,
    *,
    on_step: OnStep = ignore_step,
) -> int:
    """Write the pictures of a scan as PNG, one after the other; see `write_prepared`.

    Returns:
        How many the set has.

    Raises:
        StorageError: The folder holds another set, or cannot be written.
        DataError: Pictures cannot be read; all problems at once.
    """
    return write_prepared(
        out,
        scan.sources,
        pictures=pictures,
        request={"kind": scan.kind, **scan.settings},
        leave_out=leniency.leave_out_unreadable,
        on_step=on_step,
    )


def check_folder_of(source: Path, files: Collection[str], *, remedy: str) -> None:
    """Say everything that is missing in a folder at once.

    Raises:
        StorageError: Something is.
    """
    if not source.is_dir():
        found = "a file" if source.exists() else "no such folder"
        raise StorageError(Problem("a folder", found, "source folder", remedy))
    missing = [name for name in files if not (source / name).exists()]
    if missing:
        found = f"no {', no '.join(missing)}"
        raise StorageError(Problem("the files of the set", found, "source folder", remedy))


def _by_stem(stems: Mapping[Any, str], what: str) -> dict[str, Any]:
    """Turned round, in name order."""
    if len(set(stems.values())) < len(stems):
        found = f"{len(stems) - len(set(stems.values()))} that come twice"
        remedy = "Remove the copies, or a picture may train and test at once."
        raise DataError(Problem("each name once", found, what, remedy))
    return dict(sorted((stem, key) for key, stem in stems.items()))


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Image.Image:
    remedy = "Fetch the zip file again; it is damaged."
    if member.file_size > _MOST_BYTES:
        raise DataError(Problem("a picture of at most 256 MiB", "a larger one", where, remedy))
    try:
        return whole_picture(io.BytesIO(archive.read(member)), where)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        raise DataError(Problem("a whole member of a zip", "another", where, remedy)) from None
