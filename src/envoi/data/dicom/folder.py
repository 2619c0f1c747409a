"""A folder of DICOM files and a table of labels: which frames are images, of whom, of which class.

Only headers are read. Patients are told apart by PatientID and its issuer, and leave as numbers
of groups, by first appearance.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from envoi.data.dicom.files import dicom_files, read_header
from envoi.data.dicom.header import (
    GREY,
    annotation_of,
    frames_of,
    is_often_annotated,
    problems_of_header,
)
from envoi.data.dicom.labels import Labelled, Labels
from envoi.data.dicom.patients import Patients
from envoi.data.dicom.problem_list import ProblemList
from envoi.data.dicom.reading import DicomReading
from envoi.data.findings import refuse, together
from envoi.errors import DataError, Problem
from envoi.files import digest, file_stamp

_ADD = (
    "Add the files, or permit it with --allow-missing (in Python: allow_missing) if those of other "
    "lines are there."
)


@dataclass(frozen=True, slots=True)
class DicomRow:
    """One frame that is an image of the set.

    Attributes:
        path: Of its file.
        where: What messages call the file: its place, never its name.
        frame: Its index.
        origin: Digest of the image's UID and of the file's size and time.
        colour: Whether its pixels are; else they are grey.
        label: As the table has it.
        patient: Number of the group of this patient's images, from 0.
        split: Part that the table puts it into, if it has that column.
        site: Hospital by the table, if it has that column.
    """

    path: Path
    where: str
    frame: int
    origin: str
    colour: bool
    label: str
    patient: int
    split: str | None
    site: str | None


@dataclass(frozen=True, slots=True)
class DicomSet:
    """What a folder holds.

    Attributes:
        rows: Its images, in the order of the files' names.
        others: Files that are no DICOM; they were passed over.
        unlabelled: DICOM files that the table does not name; they were passed over.
        missing: Lines of the table passed over because no file is theirs.
        annotated: Files taken though their pixels hold annotations, or may.
    """

    rows: tuple[DicomRow, ...]
    others: int
    unlabelled: int
    missing: int
    annotated: int


def scan_dicom(
    folder: Path,
    labels: Labels,
    reading: DicomReading | None = None,
    *,
    allow_missing: bool = False,
    allow_shared_ids: bool = False,
    listed: ProblemList | None = None,
) -> DicomSet:
    """Read the headers of all DICOM files below `folder`, and find their labels.

    A file is DICOM by its content (PS3.10), whatever it is called; a `DICOMDIR` is passed over,
    and so are hidden files and folders. What begins as DICOM, or as a bare data set, and cannot be
    read to the end of its header is a problem, never passed over: nobody knows whether the table
    names it.

    Args:
        folder: Any depth.
        labels: What the table says.
        reading: What may be done to a file; by default nothing.
        allow_missing: The table may name what is not there; such lines are passed over.
        allow_shared_ids: All that bear one PatientID are one patient, whatever else they say.
        listed: Gets each problem of a file, beside the file.

    Raises:
        StorageError: The folder cannot be read, or holds no DICOM file.
        DataError: A file is wrong, is there twice, or needs a permission; a patient's number is
            of two patients, or may be; a line of the table names two patients, or what is not
            there; all at once.
    """
    scan = _Scan(
        labels,
        reading or DicomReading(),
        listed or ProblemList(),
        Patients(allow_shared_ids=allow_shared_ids),
    )
    there = dicom_files(folder)
    for where, path in there.files:
        scan.add(path, where)
    missing = scan.missing()
    problems = [problem for _, problem in scan.listed.entries]
    refuse([*problems, *(() if allow_missing and scan.found else map(scan.no_files, missing))])
    return DicomSet(tuple(scan.rows), there.others, scan.unlabelled, len(missing), scan.annotated)


@dataclass(slots=True)
class _Scan:
    """What is known after some files."""

    labels: Labels
    reading: DicomReading
    listed: ProblemList
    patients: Patients
    rows: list[DicomRow] = field(default_factory=list)
    unlabelled: int = 0
    annotated: int = 0
    # By what the table calls images, the patients that were met, each with its first file.
    found: dict[str, dict[int, str]] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    # What files bear that the table does not name.
    strangers: set[str] = field(default_factory=set, repr=False)

    def add(self, path: Path, where: str) -> None:
        try:
            header = read_header(path, where)
        except DataError as err:
            self.listed.add(path, err.problems)
            return
        name = str(header.get(self.labels.key) or "")
        said = self.labels.rows.get(name)
        if said is None:
            self.unlabelled += 1
            self.strangers.add(name)
            return
        problems = [
            *self._two_patients(header, name, where),
            *problems_of_header(header, self.reading, where),
            *self._twice(header, where),
            *self.patients.meet(header, where),
        ]
        self.listed.add(path, problems)
        if not problems:
            self.annotated += _is_annotated(header)
            patient = self.patients.group(header)
            self.rows += _rows(path, where, header, said, patient, self.reading)

    def missing(self) -> list[Labelled]:
        """What the table says of what the folder does not hold."""
        rows = self.labels.rows.items()
        return [said for name, said in rows if name not in self.found]

    def no_files(self, said: Labelled) -> Problem:
        """What is said of a line whose files are not there, with what may be the cause."""
        found = "none"
        if not self.strangers.isdisjoint(self.labels.with_other_zeros(said)):
            found = "some whose number has other zeros at its beginning"
            remedy = (
                "Write the numbers as the files have them; a spreadsheet takes zeros away unless "
                "the column is text."
            )
        elif self.labels.hidden is not None and not self.found:
            remedy = (
                "Give the key of the pull with --pseudonyms: the one given is another key, or the "
                "table is of other images."
            )
        elif self.labels.hidden is not None:
            remedy = _ADD
        else:
            remedy = f"{_ADD[:-1]}; with pseudonymous files give their key with --pseudonyms."
        return Problem("files of what each line names", found, f"labels, line {said.line}", remedy)

    def _two_patients(self, header: Dataset, name: str, where: str) -> Iterator[Problem]:
        """A number that was given to two patients: whom of them the label is of, nobody knows."""
        group, met = self.patients.group(header), self.found.setdefault(name, {})
        known = group in met
        met.setdefault(group, where)
        if not known and len(met) > 1 and self.labels.key != "SOPInstanceUID":
            line = self.labels.rows[name].line
            places = f"labels, line {line}; {together([next(iter(met.values())), where])}"
            remedy = (
                "Name the images by another UID in the table, such as StudyInstanceUID (an "
                "accession number may be given twice), or take the other patient's files out."
            )
            yield Problem("one patient under what a line names", f"{len(met)}", places, remedy)

    def _twice(self, header: Dataset, where: str) -> Iterator[Problem]:
        first = self.images.setdefault(str(header.get("SOPInstanceUID")), where)
        if first != where:
            remedy = "Remove one of the files, or an image may train and test at once."
            places = together([first, where])
            yield Problem("each image once", "one that was there before", places, remedy)


def _rows(
    path: Path, where: str, header: Dataset, said: Labelled, patient: int, reading: DicomReading
) -> Iterator[DicomRow]:
    uid = header.get("SOPInstanceUID") or ""
    origin = digest(f"{uid}\n{file_stamp(path)}".encode())
    colour = header.get("PhotometricInterpretation") not in GREY
    for frame in frames_of(header, reading):
        yield DicomRow(
            path, where, frame, origin, colour, said.label, patient, said.split, said.site
        )


def _is_annotated(header: Dataset) -> bool:
    told = annotation_of(header)
    return told == "YES" or (told != "NO" and is_often_annotated(header))
