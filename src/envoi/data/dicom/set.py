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
from envoi.data.findings import refuse
from envoi.data.prepared import Pictures, Source, write_prepared
from envoi.errors import DataError, Problem
from envoi.progress import OnStep, ignore_step
from envoi.wording import counted


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
    listed = listed or ProblemList()
    if pictures.channels is None:
        _check_kinds(found, listed)
    return write_prepared(
        out,
        tuple(_sources(found, reading, listed)),
        pictures=pictures,
        request={"kind": "dicom", **asdict(reading)},
        on_step=on_step,
    )


def _check_kinds(found: DicomSet, listed: ProblemList) -> None:
    """One kind of pixels throughout, before the first is read; the rarer kind is told."""
    kinds: dict[bool, dict[Path, str]] = {False: {}, True: {}}
    for row in found.rows:
        kinds[row.colour][row.path] = row.where
    if all(kinds.values()):
        colour = len(kinds[True]) <= len(kinds[False])
        what = f"both; {'colour' if colour else 'grey'} in {counted(len(kinds[colour]), 'file')}"
        remedy = "Choose --channels 1 or 3 (in Python: channels=...), or take these files out."
        problems = {
            path: Problem("grey or colour pictures", what, where, remedy)
            for path, where in kinds[colour].items()
        }
        for path, problem in problems.items():
            listed.add(path, [problem])
        refuse(problems.values())


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
