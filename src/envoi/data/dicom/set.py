"""From scanned DICOM files to a prepared set."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path

from PIL import Image
from pydicom import Dataset

from envoi.data.dicom.folder import DicomRow, DicomSet
from envoi.data.dicom.pixels import frame_picture, opened
from envoi.data.dicom.problem_list import ProblemList
from envoi.data.dicom.reading import DicomReading
from envoi.data.prepared import Pictures, Source, write_prepared
from envoi.errors import DataError
from envoi.progress import OnStep, ignore_step


def write_dicom_set(
    out: Path,
    found: DicomSet,
    reading: DicomReading,
    pictures: Pictures,
    *,
    listed: ProblemList | None = None,
    on_step: OnStep = ignore_step,
) -> int:
    """Write the images of a scan as PNG, one after the other; see `write_prepared`.

    Args:
        out: The folder of the set.
        found: What is to be in it.
        reading: What may be done to a file, as for the scan.
        pictures: What they are to look like.
        listed: Gets each problem of a file, beside the file.
        on_step: Told of each picture.

    Raises:
        StorageError: The folder holds another set, or cannot be written.
        DataError: Pixels cannot be read or shown; all problems at once.
    """
    return write_prepared(
        out,
        tuple(_sources(found, reading, listed or ProblemList())),
        pictures=pictures,
        request={"kind": "dicom", **asdict(reading)},
        on_step=on_step,
    )


def _sources(found: DicomSet, reading: DicomReading, listed: ProblemList) -> Iterator[Source]:
    # Frames of a file follow one another: it is read once for all of them.
    read = lru_cache(maxsize=1)(opened)
    for row in found.rows:
        picture = partial(_picture, row, reading, read, listed)
        origin = f"{row.origin}\n{row.frame}"
        yield Source(picture, row.label, origin, row.patient, row.split, row.site)


def _picture(
    row: DicomRow,
    reading: DicomReading,
    read: Callable[[Path, str], Dataset],
    listed: ProblemList,
) -> Image.Image:
    try:
        return frame_picture(read(row.path, row.where), row.frame, reading, row.where)
    except DataError as err:
        listed.add(row.path, err.problems)
        raise
