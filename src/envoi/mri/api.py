"""Training and drawing in a few lines of Python; docs/mri.md shows them.

What `envoi mri train | sample | complete` do, with values in place of files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from envoi.errors import DataError, Problem, SettingsError
from envoi.mri.asked import check_asked, check_scan
from envoi.mri.brain import as_volume, completed
from envoi.mri.drawing import drawn_intensities
from envoi.mri.given import given_slices
from envoi.mri.model import VolumeModel
from envoi.mri.modes import (
    Mode,
    ModelCard,
    model_file,
    plan_of,
    read_card,
    read_model,
    usual_steps,
)
from envoi.mri.run import train_in
from envoi.mri.slabs import Plane
from envoi.mri.training import MriTraining
from envoi.progress import OnStep, ignore_step
from envoi.volumes import Sex, Subject, Volume
from envoi.wording import did_you_mean


@dataclass(frozen=True, slots=True, eq=False)
class BrainModel:
    """A trained model of brains.

    Attributes:
        model: Its networks.
        card: What it is.
    """

    model: VolumeModel = field(repr=False)
    card: ModelCard

    def draw(
        self,
        number: int = 1,
        *,
        age_years: float | None = None,
        sex: Sex | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> Volume:
        """A volume of nobody, intensities 0 to 1, exactly 0 outside the brain.

        Args:
            number: Which one of a seed; equal seeds and numbers draw equal volumes.
            age_years: None is any.
            sex: None is any.
            steps: Of the solver; None is 20, and the paper's own 1000 for a model of its mode.
            seed: Of all volumes.

        Raises:
            DataError: There is no brain in it: the model has hardly learned.
            SettingsError: Age or sex means nothing to the model (`envoi.mri.asked`).
        """
        check_asked(self.card, age_years, sex)
        steps = usual_steps(self.card.mode) if steps is None else steps
        voxels = drawn_intensities(
            self.model, age_years, sex, steps=steps, seed=seed, number=number
        )
        return as_volume(voxels, self.card.grid, self.card.faintest)

    def complete(  # noqa: PLR0913  (all that decides a volume)
        self,
        scan: Volume,
        *,
        slices: str | None = None,
        every: int | None = None,
        plane: Plane = Plane.AXIAL,
        age_years: float | None = None,
        sex: Sex | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> Volume:
        """The scan's named slices (`40:60`, or every n-th), and drawn ones in place of the others.

        Args:
            scan: On the model's grid.
            slices: To keep, such as `40:60` (40 to 59, counted from 0) or `3,7,12`.
            every: Keep slices 0, n, 2n and so on.
            plane: Which slices are meant.
            age_years: Of the person; None is any.
            sex: Of the person; None is any.
            steps: Of the solver; None is 20.
            seed: Equal seeds complete alike.

        Raises:
            SettingsError: Neither or both of `slices` and `every` are given, they are no slices,
                or age or sex means nothing to the model.
            MethodError: The model cannot complete.
            DataError: The scan is on another grid, or there is no brain in what was drawn.
        """
        check_asked(self.card, age_years, sex)
        check_scan(self.card, scan)
        given = given_slices(scan.voxels, plane, slices=slices, every=every)
        steps = usual_steps(self.card.mode) if steps is None else steps
        voxels = drawn_intensities(
            self.model, age_years, sex, steps=steps, seed=seed, number=1, given=given
        )
        return completed(voxels, scan, given.mask.numpy() > 0, self.card.faintest)


def train_brains(
    subjects: Sequence[Subject],
    folder: Path,
    *,
    mode: Mode = "joint",
    plan: Mapping[str, Any] | None = None,
    device: str = "cpu",
    on_step: OnStep = ignore_step,
    **training: Any,  # noqa: ANN401  (fields of MriTraining)
) -> BrainModel:
    """A model of subjects on one grid; goes on where an earlier call was stopped.

    Args:
        subjects: To learn from (`envoi.load_brains`).
        folder: Of the run; the trained model stays in it.
        mode: Of the model.
        plan: Changes of the mode's shape, such as `{"thickness": 8}`.
        device: Where to train, and then to draw, such as `cuda`.
        on_step: Told about every step.
        **training: Fields of `MriTraining`, such as `steps` and `batch`.

    Raises:
        SettingsError: A setting is wrong, or the folder holds a run with other ones.
        DataError: Subjects' grids differ, or there is nobody.
    """
    if not subjects:
        raise DataError(Problem("brains to learn from", "none", "subjects", "Load some first."))
    known = [field.name for field in fields(MriTraining)]
    for name in training.keys() - set(known):
        remedy = did_you_mean(name, known, otherwise=f"Choose among {', '.join(known)}.")
        raise SettingsError(Problem("a field of MriTraining", repr(name)[:80], "training", remedy))
    shaped = plan_of(mode, subjects[0].volume.grid.shape, plan or {})
    settings = MriTraining.of_mode(mode, **training)
    place = torch.device(device)
    found = train_in(folder, subjects, mode, shaped, settings, device=place, on_step=on_step)
    return BrainModel(*found)


def load_brain_model(folder: Path, *, device: str = "cpu") -> BrainModel:
    """The model of a run's folder.

    Args:
        folder: That `train_brains` or `envoi mri train` wrote.
        device: Where to draw.

    Raises:
        StorageError: There is none.
    """
    file = model_file(folder)
    return BrainModel(read_model(file).to(torch.device(device)), read_card(file))
