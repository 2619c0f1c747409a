"""Files below a folder, counted as a user can count them again, and their headers to the end.

The number of a file is its line in

    find FOLDER/ -not -type d | LC_ALL=C sort

so whoever is told a number finds the file with `sed -n NUMBERp` behind it, and no message names it.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from envoi.data.dicom.bare import begins_as_data_set
from envoi.data.dicom.header import TAGS, WINDOW_TAGS
from envoi.data.dicom.quiet import quietly
from envoi.errors import DataError, Problem, StorageError
from envoi.wording import counted

_PREAMBLE, _MAGIC = 128, b"DICM"
_ENDINGS = (".dcm", ".dicom", ".ima")
_DAMAGED = "one that is damaged, cut off or of another kind"
_BARE = "a data set without the preamble and the meta information of a file (PS3.10)"
_NO_PIXELS = "one with no pixels: it has none, or was cut off before them"
# Kinds of files that have pixels, beside those that are called images.
_WITH_PIXELS = ("Label Map Segmentation", "Parametric Map", "RT Dose", "Segmentation")
_REMEDIES = {
    _DAMAGED: "Export the file again, or take it out of the folder.",
    _BARE: (
        "Export the file again as a DICOM file, or make one of it (`dcmconv` of DCMTK does), or "
        "take it out of the folder."
    ),
    _NO_PIXELS: "Export the file again with its pixels, or take it out of the folder.",
}


@dataclass(frozen=True, slots=True)
class DicomFiles:
    """What lies below a folder.

    Attributes:
        files: What messages call each DICOM file, and its path; a repr shows none.
        others: How many files are no DICOM, links to folders among them; they are passed over.
    """

    files: tuple[tuple[str, Path], ...] = field(repr=False)
    others: int


def dicom_files(folder: Path) -> DicomFiles:
    """All DICOM files by their number, with what bears such a name or is a bare data set.

    Hidden files and folders and a `DICOMDIR` are passed over and not counted.

    Raises:
        StorageError: The folder cannot be read, or holds none.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        remedy = "Look at how it is spelt, and give the folder that holds the files."
        raise StorageError(Problem("a folder of DICOM files", found, "DICOM folder", remedy))
    try:
        open_to_all = [
            (number, path)
            for number, path in enumerate(_all_files(folder), start=1)
            if not _is_passed_over(path.relative_to(folder))
        ]
        taken = [
            (f"DICOM folder, file {number} in name order", path)
            for number, path in open_to_all
            if path.is_file() and (path.suffix.lower() in _ENDINGS or _is_dicom(path))
        ]
    except OSError as err:
        words = err.strerror or "an error of the file system"
        # The cause is dropped: it names files, and a name may identify a patient.
        raise StorageError(
            Problem("a folder of DICOM files", words, "DICOM folder", "Give such a folder.")
        ) from None
    others = len(open_to_all) - len(taken)
    if not taken:
        found = f"none among {counted(others, 'file')}" if others else "none"
        remedy = "Give a folder that holds DICOM files, at any depth."
        raise StorageError(Problem("DICOM files", found, "DICOM folder", remedy))
    return DicomFiles(tuple(taken), others)


def read_header(path: Path, where: str) -> Dataset:
    """What is needed of a header, read to its end.

    Args:
        path: The file.
        where: What messages call it.

    Raises:
        DataError: It is damaged, cut off, a bare data set, or not DICOM; or it has no pixels and
            is of a kind that has some.
    """
    header = None
    try:
        with quietly(), path.open("rb") as file:
            tags = [*TAGS, *WINDOW_TAGS]
            header = dcmread(file, stop_before_pixels=True, specific_tags=tags)
            end, size = file.tell(), path.stat().st_size
            for tag in TAGS:  # pydicom parses a value when it is asked for
                header.get(tag)
            found = _missing(header, end, size)
    except InvalidDicomError:
        found = _BARE if begins_as_data_set(path) else _DAMAGED
    except Exception:  # noqa: BLE001  (damaged files raise whatever their bytes lead to)
        found = _DAMAGED
    if header is None or found:
        raise DataError(Problem("a whole DICOM file", found, where, _REMEDIES[found]))
    return header


def _missing(header: Dataset, end: int, size: int) -> str:
    """What a header tells to be missing; nothing if it was read up to its pixels, or needs none.

    pydicom takes the end of a file for the end of the header, wherever that is.

    Args:
        header: As it was read.
        end: Byte at which reading stopped.
        size: Of the file in bytes.
    """
    if not header.get("SOPInstanceUID") or end > size:
        return _DAMAGED
    # Of a deflated file all is inflated at once, and that tells itself whether it is whole.
    if end < size or header.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return ""
    uid = UID(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    if uid.name == uid:  # a vendor's own kind
        if not (header.get("StudyInstanceUID") and header.get("SeriesInstanceUID")):
            return _DAMAGED
        return _NO_PIXELS if "Rows" in header else ""
    has_pixels = "Image" in uid.name or uid.name.startswith(_WITH_PIXELS)
    return _NO_PIXELS if has_pixels else ""


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
        if file.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] == _MAGIC:
            return True
    return begins_as_data_set(path)
