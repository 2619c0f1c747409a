"""Files below a folder, counted as a user can count them again, and their headers to the end.

The number of a file is its line in

    find FOLDER/ -not -type d | LC_ALL=C sort

so whoever is told a number finds the file with `sed -n NUMBERp` behind it, and no message names it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from envoi.data.dicom.header import TAGS, WINDOW_TAGS
from envoi.data.dicom.quiet import quietly
from envoi.errors import Problem, StorageError

_PREAMBLE, _MAGIC = 128, b"DICM"
_ENDINGS = (".dcm", ".dicom", ".ima")
# Kinds of files that have pixels, beside those that are called images.
_WITH_PIXELS = ("Label Map Segmentation", "Parametric Map", "RT Dose", "Segmentation")


def dicom_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """All DICOM files by their number, and what else bears such a name.

    Raises:
        StorageError: The folder cannot be read, or holds none.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        remedy = "Look at how it is spelt, and give the folder that holds the files."
        raise StorageError(Problem("a folder of DICOM files", found, "DICOM folder", remedy))
    try:
        taken = [
            (number, path)
            for number, path in enumerate(_all_files(folder), start=1)
            if path.is_file()
            and not _is_passed_over(path.relative_to(folder))
            and (path.suffix.lower() in _ENDINGS or _is_dicom(path))
        ]
    except OSError as err:
        words = err.strerror or "an error of the file system"
        # The cause is dropped: it names files, and a name may identify a patient.
        raise StorageError(
            Problem("a folder of DICOM files", words, "DICOM folder", "Give such a folder.")
        ) from None
    if not taken:
        remedy = "Give a folder that holds DICOM files, at any depth."
        raise StorageError(Problem("DICOM files", "none", "DICOM folder", remedy))
    for number, path in taken:
        yield f"DICOM folder, file {number} in name order", path


def read_header(path: Path) -> Dataset | None:
    """What is needed of a header; None if the file is damaged, cut off, or not DICOM."""
    try:
        with quietly(), path.open("rb") as file:
            tags = [*TAGS, *WINDOW_TAGS]
            header = dcmread(file, stop_before_pixels=True, specific_tags=tags)
            end, size = file.tell(), path.stat().st_size
            for tag in TAGS:  # pydicom parses a value when it is asked for
                header.get(tag)
            whole = _is_whole(header, end, size)
    except Exception:  # noqa: BLE001  (damaged files raise whatever their bytes lead to)
        return None
    return header if whole else None


def damaged(where: str) -> Problem:
    """What is said of a file of which there is no header."""
    remedy = "Export the file again, or take it out of the folder."
    found = "one that is damaged, cut off or of another kind"
    return Problem("a whole DICOM file", found, where, remedy)


def _is_whole(header: Dataset, end: int, size: int) -> bool:
    """Whether a header was read up to its pixels, or has none by its kind.

    pydicom takes the end of a file for the end of the header, wherever that is.

    Args:
        header: As it was read.
        end: Byte at which reading stopped.
        size: Of the file in bytes.
    """
    if not header.get("SOPInstanceUID") or end > size:
        return False
    # Of a deflated file all is inflated at once, and that tells itself whether it is whole.
    if end < size or header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return True
    uid = UID(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    if uid.name == uid:  # a vendor's own kind
        named = header.get("StudyInstanceUID") and header.get("SeriesInstanceUID")
        return bool(named) and "Rows" not in header
    return "Image" not in uid.name and not uid.name.startswith(_WITH_PIXELS)


def _all_files(folder: Path) -> list[Path]:
    """In the order of the bytes of their paths; links to folders count as files."""
    found = []
    for place, folders, files in os.walk(folder, onerror=_raised):
        links = [name for name in folders if Path(place, name).is_symlink()]
        found += [Path(place, name) for name in (*links, *files)]
    return sorted(found, key=lambda path: os.fsencode(path.relative_to(folder)))


def _raised(err: OSError) -> None:
    """A folder that cannot be read is no empty one."""
    raise err


def _is_passed_over(path: Path) -> bool:
    return path.name.upper() == "DICOMDIR" or any(part.startswith(".") for part in path.parts)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC
