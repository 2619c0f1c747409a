"""RSNA's pneumonia challenge of 2018: chest radiographs as DICOM, split by patient.

    SOURCE/stage_2_train_images/*.dcm         they may also lie in SOURCE itself
    SOURCE/stage_2_train_labels.csv           patientId,x,y,width,height,Target; a row for each box
    SOURCE/stage_2_detailed_class_info.csv    patientId,class
    SOURCE/pneumonia-challenge-dataset-mappings_2018.json    who the patients are; see below

`patientId` is the name of a file. The patient is the file's PatientID. In the challenge's files
that, too, is a number of the image alone: its images are of NIH's ChestX-ray14, where a patient
has several. RSNA's mapping names the NIH image of each (`subset_img_id`, `img_id`), and the first
part of that name is the patient. Where the mapping is in the folder it decides; without it, and
with as many PatientIDs as images, one patient may train and test at once, which is warned of.

Files are secondary captures that do not say whether text is burned in. RSNA published them
without names, so silence is taken as no; a file that says YES needs the permission.
"""

import json
import warnings
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from pydicom import Dataset

from envoi.data.dicom import DicomReading, frame_picture
from envoi.data.dicom.files import read_header
from envoi.data.dicom.header import annotation_of, frames_of, problems_of_header
from envoi.data.dicom.patients import Patients
from envoi.data.dicom.pixels import opened
from envoi.data.findings import refuse
from envoi.data.prepared import Source
from envoi.data.rows import read_columns
from envoi.data.sets.source import Leniency, Scan, check_folder_of, match, paths_in
from envoi.errors import DataError, EnvoiWarning, Problem, SettingsError, StorageError
from envoi.files import file_stamp, read_text

NAME = "rsna-pneumonia"
TARGETS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
OPACITY = "Lung Opacity"
_NAMES = ("Normal", "No Lung Opacity / Not Normal", OPACITY)
_BINARY = {"0": "no pneumonia", "1": "pneumonia"}
_WHAT = "radiographs"
_REMEDY = (
    f"Give the folder with stage_2_train_images/*.dcm, {TARGETS} and {CLASSES} of "
    "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge."
)


def scan_rsna_pneumonia(
    source: Path,
    leniency: Leniency,
    *,
    labels: str = "target",
    reading: DicomReading | None = None,
    allow_shared_ids: bool = False,
) -> Scan:
    """Read tables and headers, and match them.

    Args:
        source: The folder.
        leniency: What may be wrong.
        labels: `target` for `pneumonia` and `no pneumonia`; `class` for the three of the
            detailed table.
        reading: What may be done to a file; by default nothing.
        allow_shared_ids: All that bear one PatientID are one patient, whatever else they say.

    Raises:
        SettingsError: `labels` is another word.
        StorageError: A table or the files are missing, or cannot be read.
        DataError: Tables are wrong or contradict each other, a file is wrong or missing, or the
            mapping does not know it; all problems of a step at once.
    """
    reading = reading or DicomReading()
    said, lines, table = _labels(source, labels)
    images = source / "stage_2_train_images"
    folder = images if images.is_dir() else source
    paths = paths_in(folder, (".dcm",), what=_WHAT, remedy=_REMEDY)
    matched = match(tuple(paths), lines, leniency, table=table)
    places = {name: f"{_WHAT}, file {n} in name order" for n, name in enumerate(paths, start=1)}
    headers = _Headers(reading, _mapping(source), Patients(allow_shared_ids=allow_shared_ids))
    for name in matched.names:
        headers.add(name, paths[name], places[name])
    if not leniency.leave_out_unreadable:
        refuse(headers.damaged)
    refuse(headers.problems)
    headers.warn()
    sources = tuple(
        Source(
            partial(_picture, paths[name], frame, reading, places[name]),
            said[name],
            f"{name}\n{frame}\n{file_stamp(paths[name])}",
            headers.patients[name],
        )
        for name, frames in headers.frames.items()
        for frame in frames
    )
    settings = {"labels": labels, "patients": headers.source_of_patients, **asdict(reading)}
    return Scan(NAME, sources, matched, settings, unreadable=len(headers.damaged))


class _Headers:
    """What headers say, file by file."""

    def __init__(
        self, reading: DicomReading, mapping: dict[str, str] | None, patients: Patients
    ) -> None:
        self.reading = reading
        self.mapping = mapping
        self.problems: list[Problem] = []
        self.damaged: list[Problem] = []
        self.patients: dict[str, int] = {}
        self.frames: dict[str, range] = {}
        self._patients = patients
        self._mapped: dict[str, int] = {}
        self._images: set[str] = set()

    @property
    def source_of_patients(self) -> str:
        return "PatientID" if self.mapping is None else "mapping"

    def add(self, name: str, path: Path, where: str) -> None:
        try:
            header = read_header(path, where)
        except DataError as err:
            self.damaged += err.problems
            return
        silent = self.reading
        if annotation_of(header) != "YES":
            silent = replace(self.reading, allow_burned_in=True)
        self.problems += problems_of_header(header, silent, where)
        self._check_once(header, where)
        self.patients[name] = self._patient(name, header, where)
        self.frames[name] = frames_of(header, self.reading)

    def warn(self) -> None:
        """Say so if nothing tells which images are of one patient."""
        if self.mapping is None and len(set(self.patients.values())) == len(self.patients) > 1:
            warnings.warn(
                f"Each of {len(self.patients)} images has a PatientID of its own, so images of one "
                f"patient may be in training and test at once. RSNA's {MAPPING} tells the "
                "patients: put it into the source folder.",
                EnvoiWarning,
                stacklevel=3,
            )

    def _check_once(self, header: Dataset, where: str) -> None:
        uid = str(header.get("SOPInstanceUID") or "")
        if uid in self._images:
            remedy = "Remove one of the files, or an image may train and test at once."
            found = "one that was there before"
            self.problems.append(Problem("each image once", found, where, remedy))
        self._images.add(uid)

    def _patient(self, name: str, header: Dataset, where: str) -> int:
        if self.mapping is None:
            self.problems += self._patients.meet(header, where)
            return self._patients.group(header)
        if name not in self.mapping:
            remedy = f"Take {MAPPING} out of the folder, or get it again."
            self.problems.append(Problem("an image that the mapping names", "none", where, remedy))
        return self._mapped.setdefault(self.mapping.get(name, ""), len(self._mapped))


def _labels(source: Path, labels: str) -> tuple[dict[str, str], dict[str, int], str]:
    """Label and line of each name, and the table they are from."""
    if labels not in {"target", "class"}:
        found = repr(labels)[:40]
        raise SettingsError(Problem("target or class", found, "labels", "Choose one of them."))
    there = {name: (source / name).exists() for name in (TARGETS, CLASSES)}
    needed = CLASSES if labels == "class" else TARGETS
    if labels == "class" or not any(there.values()):
        check_folder_of(source, (needed,), remedy=_REMEDY)
    targets, target_lines = _table(source, TARGETS, "Target", tuple(_BINARY), there)
    classes, class_lines = _table(source, CLASSES, "class", _NAMES, there)
    refuse(_contradictions(targets, classes, target_lines))
    if labels == "class":
        return classes, class_lines, CLASSES
    if there[TARGETS]:
        return {n: _BINARY[target] for n, target in targets.items()}, target_lines, TARGETS
    binary = {name: _BINARY[str(int(said == OPACITY))] for name, said in classes.items()}
    return binary, class_lines, CLASSES


def _table(
    source: Path, table: str, column: str, values: tuple[str, ...], there: dict[str, bool]
) -> tuple[dict[str, str], dict[str, int]]:
    """What a table says of each name, and in which line first; nothing of one that is not there."""
    said: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems = []
    if not there[table]:
        return said, lines
    rows = read_columns(source / table, ("patientId", column), what=table, remedy=_REMEDY)
    for line, (name, value) in rows:
        where = f"{table}, line {line}"
        if value not in values:
            expected = f"a {column} among {', '.join(values)}"
            remedy = "Correct the line, or get the table again."
            problems.append(Problem(expected, "another", where, remedy))
        elif said.setdefault(name, value) != value:
            found = f"another than in line {lines[name]}"
            remedy = "Get the table again."
            problems.append(Problem(f"one {column} an image", found, where, remedy))
        lines.setdefault(name, line)
    refuse(problems)
    return said, lines


def _contradictions(
    targets: dict[str, str], classes: dict[str, str], lines: dict[str, int]
) -> list[Problem]:
    """Where both tables speak, `Target` is 1 of lung opacity, and of nothing else."""
    remedy = f"Get {TARGETS} and {CLASSES} again, of the same stage."
    expected = f"Target 1 where the class is {OPACITY}, and only there"
    return [
        Problem(expected, "the other", f"{TARGETS}, line {lines[name]}", remedy)
        for name, target in targets.items()
        if name in classes and (classes[name] == OPACITY) != (target == "1")
    ]


def _mapping(source: Path) -> dict[str, str] | None:
    """NIH's patient of each name, if RSNA's mapping is there."""
    path = source / MAPPING
    if not path.exists():
        return None
    remedy = f"Get {MAPPING} again, or take it out of the folder."
    try:
        entries: Any = json.loads(read_text(path, what="RSNA's mapping", remedy=remedy))
        return {
            str(entry["subset_img_id"]): str(entry["img_id"]).partition("_")[0] for entry in entries
        }
    except StorageError:
        raise
    except (ValueError, LookupError, TypeError):
        expected = "a list with subset_img_id and img_id"
        raise DataError(Problem(expected, "something else", MAPPING, remedy)) from None


def _picture(path: Path, frame: int, reading: DicomReading, where: str) -> Image.Image:
    return frame_picture(opened(path, where), frame, reading, where)
