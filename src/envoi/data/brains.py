"""A folder of brains: `sub-01_T1w.nii.gz`, `sub-02_ses-1_T1w.nii.gz`, ... and `participants.tsv`.

Files of other names, such as masks and other contrasts, are passed over and counted.
Without such files in the folder itself it is read as a BIDS data set, whose T1-weighted scans are
in `sub-01/anat/` or `sub-01/ses-1/anat/` (BIDS specification, "Magnetic Resonance Imaging").
What stands before the first `_` of a file's name is the `participant_id` of one person; parts
such as `ses-1` tell scans of that person apart. What was read and prepared once is kept in a
cache under the digest of the file and of what was done to it.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from envoi.data.findings import refuse
from envoi.data.nifti import ENDINGS, VolumePermissions, mark_of, read_nifti, stem_of
from envoi.data.participants import TABLE, Participant, read_participants
from envoi.errors import DataError, EnvoiError, EnvoiWarning, Problem, SettingsError, StorageError
from envoi.files import canonical_json, check_writable, digest, file_digest, write_bytes
from envoi.seeding import numpy_generator
from envoi.volumes import Grid, Subject, Volume
from envoi.wording import counted

# Counts up when the same file and permissions give other voxels than before.
_PREPARATION = 1
_BIDS = ("sub-*/anat/*_T1w.nii*", "sub-*/ses-*/anat/*_T1w.nii*")
# With all their fluid hardly any has as much.
_LARGE_BRAIN_ML = 2000
_SCAN = tuple(f"_T1w{ending}" for ending in ENDINGS)

OnSubject = Callable[[Subject], None]


def load_brains(
    folder: Path,
    permissions: VolumePermissions | None = None,
    *,
    cache: Path | None = None,
    on_subject: OnSubject | None = None,
) -> tuple[Subject, ...]:
    """Read all brains of a folder, in the order of their names.

    Args:
        folder: Holds the table, and the files or a BIDS data set.
        permissions: What may be done to a scan; None permits nothing.
        cache: Prepared volumes are kept here, and taken from here. None keeps nothing.
        on_subject: Called as each subject is read.

    Raises:
        StorageError: The folder or its table cannot be read, or the cache not be written.
        DataError: There is no scan, files and rows do not fit one another, there is only one
            person, or scans are wrong or of unlike shapes; all problems of a kind at once.
    """
    permissions = permissions or VolumePermissions()
    if cache is not None:
        check_writable(cache)
    files, others = _files(folder)
    if others:
        told = f"{counted(others, 'NIfTI file')} passed over: only sub-*_T1w.nii[.gz] are read."
        warnings.warn(told, EnvoiWarning, stacklevel=2)
    rows = read_participants(folder)
    refuse(_problems_of_names(files, rows))
    problems: list[Problem] = []
    subjects: list[Subject] = []
    for number, file in enumerate(files, start=1):
        where = _where(number)
        try:
            volume = _prepared(file, permissions, cache=cache, where=where)
        except DataError as err:
            problems += err.problems
            continue
        row = rows[_person(file.name)]
        subjects.append(Subject(_name(file), volume, row.age_years, row.sex))
        if on_subject is not None:
            on_subject(subjects[-1])
    refuse(problems)
    refuse(_problems_of_grids(subjects))
    _warn_of(subjects, sum(map(_is_marked, files)))
    return tuple(subjects)


def count_marked(folder: Path) -> int:
    """How many of a folder's scans are marked as made (`envoi.data.nifti.mark_of`).

    Raises:
        StorageError: The folder cannot be read.
        DataError: There is no scan.
    """
    files, _ = _files(folder)
    return sum(map(_is_marked, files))


def _is_marked(file: Path) -> bool:
    try:
        return bool(mark_of(file))
    except StorageError:  # a scan is read without a sidecar that is damaged
        return False


def split_subjects(
    subjects: Sequence[Subject], held_out: int, seed: int
) -> tuple[tuple[Subject, ...], tuple[Subject, ...]]:
    """Subjects to train on and those held out, each in the order given, by person.

    All scans of one person (`sub-01_ses-1`, `sub-01_ses-2`) are on the same side. The choice
    depends on the persons' names and the seed, and not on the order.

    Args:
        subjects: Named after their person up to the first `_`.
        held_out: How many persons are held out.
        seed: Of the choice.

    Raises:
        SettingsError: There would be nobody on a side.
    """
    persons = sorted({subject.person for subject in subjects})
    if not 1 <= held_out < len(persons):
        expected = f"1 to {len(persons) - 1} of {len(persons)} persons"
        remedy = "Hold out some and train on the others."
        raise SettingsError(Problem(expected, f"{held_out}", "held_out", remedy))
    order = numpy_generator(seed, "held out").permutation(len(persons))
    chosen = {persons[index] for index in order[:held_out]}
    train = tuple(subject for subject in subjects if subject.person not in chosen)
    return train, tuple(subject for subject in subjects if subject.person in chosen)


def _warn_of(subjects: list[Subject], marked: int) -> None:
    """Of what is read, but hardly meant."""
    if 0 < marked < len(subjects):
        told = f"{marked} of {counted(len(subjects), 'scan')} are marked as made, not real."
        warnings.warn(told, EnvoiWarning, stacklevel=3)
    for number, subject in enumerate(subjects, start=1):
        filled_ml = subject.volume.filled_ml
        if filled_ml > _LARGE_BRAIN_ML:
            told = f"{_where(number)}: {filled_ml:.0f} ml, more than brains have. Is its skull off?"
            warnings.warn(told, EnvoiWarning, stacklevel=3)


def _files(folder: Path) -> tuple[list[Path], int]:
    """The scans of a folder, and how many NIfTI files are none."""
    try:
        names = sorted(folder.iterdir())
    except OSError as err:
        found = err.strerror or "an error of the file system"
        remedy = f"Give a folder of NIfTI files, or a BIDS data set, with a {TABLE}."
        raise StorageError(Problem("a folder of brains", found, "folder", remedy)) from None
    below = sorted(
        (file for pattern in _BIDS for file in folder.glob(pattern)), key=lambda file: file.name
    )
    flat, nested = ([file for file in files if _is_scan(file)] for files in (names, below))
    others = sum(file.name.endswith(ENDINGS) and file.name[0] != "." for file in names) - len(flat)
    if flat and nested:
        found = f"{len(flat)} in the folder and {len(nested)} in sub-*/anat"
        remedy = "Move one or the other away."
        raise DataError(Problem("scans of one layout", found, "folder", remedy))
    if not flat and not nested:
        found = f"{counted(others, 'NIfTI file')} of other names" if others else "no scans"
        expected, remedy = "scans called as sub-01_T1w.nii.gz", "Name scans so, or check the path."
        raise DataError(Problem(expected, found, "folder", remedy))
    return flat or nested, others


def _is_scan(file: Path) -> bool:
    return file.name.startswith("sub-") and file.name.endswith(_SCAN)


def _person(name: str) -> str:
    """The participant that the name of a file or subject begins with."""
    return name.partition("_")[0].removesuffix(".gz").removesuffix(".nii")


def _name(file: Path) -> str:
    """`sub-01_ses-1` for `sub-01_ses-1_T1w.nii.gz`: the person, and what tells scans apart."""
    person, *others = stem_of(file).split("_")
    return "_".join([person, *(part for part in others if "-" in part)])


def _is_at_home(file: Path) -> bool:
    """Whether the name of a file of a BIDS data set begins with those of its folders."""
    *_, before, last, anat = ["", "", *file.parts[:-1]]
    if anat != "anat" or not last.startswith(("sub-", "ses-")):
        return True
    folders = f"{before}_{last}_" if last.startswith("ses-") else f"{last}_"
    return file.name.startswith(folders)


def _where(number: int) -> str:
    return f"file {number} in name order"


def _problems_of_names(files: list[Path], rows: dict[str, Participant]) -> Iterator[Problem]:
    """Files without a row, rows without a file, scans that come twice, and a single person."""
    first: dict[str, int] = {}
    for number, file in enumerate(files, start=1):
        if not _is_at_home(file):
            remedy = "Move the file, or name it after its folders."
            yield Problem("a name that begins as its folders", "another", _where(number), remedy)
        if _person(file.name) not in rows:
            remedy = f"Add the row to {TABLE}, or name the file after its participant_id."
            yield Problem("a row for each file", "none", _where(number), remedy)
        earlier = first.setdefault(_name(file), number)
        if earlier != number:
            remedy = "Keep one contrast and one format, or tell scans apart as ses-1 and ses-2."
            found = f"that of file {earlier}"
            yield Problem("each scan once", found, _where(number), remedy)
    persons = {_person(file.name) for file in files}
    for name, row in rows.items():
        if name not in persons:
            remedy = "Add the file, or remove the row."
            where = f"{TABLE}, line {row.line}"
            yield Problem("a file for each row", "none", where, remedy)
    if len(persons) < 2:
        remedy = "Add subjects: with one, nobody can be held out."
        yield Problem("two subjects or more", f"{len(persons)}", "folder", remedy)


def _problems_of_grids(subjects: list[Subject]) -> Iterator[Problem]:
    """Volumes that are not as the first one."""
    first = subjects[0].volume
    for number, subject in enumerate(subjects, start=1):
        if not subject.volume.grid.is_like(first.grid):
            remedy = "Give --spacing-mm and --shape (in Python, spacing_mm and shape)."
            expected = f"all volumes like the first, a {first!r}"
            yield Problem(expected, f"a {subject.volume!r}", _where(number), remedy)


def _prepared(
    file: Path, permissions: VolumePermissions, *, cache: Path | None, where: str
) -> Volume:
    """The volume in a file, from the cache if it is there."""
    if cache is None:
        return read_nifti(file, permissions, where=where)
    done = {"file": file_digest(file), "with": asdict(permissions), "by": _PREPARATION}
    kept = cache / f"{digest(canonical_json(done).encode())}.safetensors"
    volume = _kept(kept)
    if volume is None:
        volume = read_nifti(file, permissions, where=where)
        grid = canonical_json(asdict(volume.grid))
        # safetensors writes the memory as it lies, whatever the order of axes in it.
        voxels = np.ascontiguousarray(volume.voxels)
        write_bytes(kept, save({"voxels": voxels}, {"grid": grid}))
    return volume


def _kept(file: Path) -> Volume | None:
    """What the cache holds; None if that is nothing, or damaged."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="np") as content:
            grid = json.loads(content.metadata()["grid"])
            voxels = content.get_tensor("voxels")
        return Volume(voxels, Grid(**{key: tuple(value) for key, value in grid.items()}))
    except (SafetensorError, EnvoiError, OSError, KeyError, TypeError, ValueError):
        return None
