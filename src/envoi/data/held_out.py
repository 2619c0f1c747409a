"""Who was held out of a run, kept in the run's folder so that an evaluation cannot mix them up.

split.json tells how many persons, by which seed, and what was permitted to be done to their scans;
it names nobody. The same folder of brains gives the same split again.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from envoi.data.brains import split_subjects
from envoi.data.nifti import VolumePermissions
from envoi.errors import Problem, SettingsError, StorageError
from envoi.files import read_text, write_json
from envoi.volumes import Subject
from envoi.wording import counted

FILE = "split.json"
LEAST_LEARNT = 2
"""Persons that a model learns from at the least: of one, all that it draws is that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """How brains were parted.

    Attributes:
        persons: That training never saw.
        seed: Of the choice.
        permissions: What was done to all scans before.
    """

    persons: int
    seed: int
    permissions: VolumePermissions

    def part(self, subjects: Sequence[Subject]) -> tuple[tuple[Subject, ...], tuple[Subject, ...]]:
        """Subjects to train on and those held out.

        Raises:
            SettingsError: Nobody would be held out, or fewer than two learnt from.
        """
        persons = len({subject.person for subject in subjects})
        if not 1 <= self.persons <= persons - LEAST_LEARNT:
            most = max(0, persons - LEAST_LEARNT)
            expected = f"1 to {most} of {counted(persons, 'person')}"
            remedy = f"Leave {LEAST_LEARNT} persons or more to learn from."
            raise SettingsError(Problem(expected, f"{self.persons}", "held_out", remedy))
        return split_subjects(subjects, self.persons, self.seed)


def write_held_out(folder: Path, held_out: HeldOut) -> None:
    """Write split.json into a run's folder."""
    write_json(folder / FILE, asdict(held_out))


def read_held_out(folder: Path) -> HeldOut:
    """What a run's split.json tells.

    Raises:
        StorageError: It is missing, or tells something else.
    """
    remedy = "Name a folder that `envoi mri train` of this version wrote."
    if folder.is_dir() and not (folder / FILE).exists():
        remedy = "Say --held-out and --seed in place of --run; `envoi mri train` keeps a split."
    text = read_text(folder / FILE, what="the split of a run", remedy=remedy)
    try:
        return TypeAdapter(HeldOut).validate_json(text)
    except ValidationError as err:
        found = counted(err.error_count(), "wrong field")
        raise StorageError(Problem("the split of a run", found, FILE, remedy)) from err
