"""One training run in one folder: settings, log, checkpoint, and the model at its end.

run.toml, settings.json   what decides the result
steps.jsonl               losses
training.safetensors      the state of an interrupted training
model.safetensors         the trained model
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from envoi.checkpoint import Checkpoint
from envoi.errors import Problem, SettingsError, StorageError
from envoi.files import canonical_json, check_writable, digest, digest_of_parts
from envoi.mri.asked import ages_of, sexes_of
from envoi.mri.brain import faintest_of
from envoi.mri.model import VolumeModel
from envoi.mri.modes import (
    Mode,
    ModelCard,
    Plan,
    model_file,
    model_of,
    read_card,
    read_model,
    weights_digest,
    write_model,
)
from envoi.mri.population import Population
from envoi.mri.training import MriTraining, train
from envoi.precision import settled
from envoi.processes import current_processes
from envoi.progress import OnStep, ignore_step, logged
from envoi.results import RunFolder
from envoi.seeding import derive_seed
from envoi.volumes import Subject
from envoi.wording import counted


def train_in(  # noqa: PLR0913  (a run's inputs, each of another kind)
    folder: Path,
    subjects: Sequence[Subject],
    mode: Mode,
    plan: Plan,
    settings: MriTraining,
    *,
    checkpointed: bool = False,
    device: torch.device | None = None,
    on_step: OnStep = ignore_step,
) -> tuple[VolumeModel, ModelCard]:
    """Train a model, go on where an earlier call was stopped, or read what it has finished.

    Of several processes (`torchrun`) that see the folder only the first one writes and tells.

    Args:
        folder: Of the run.
        subjects: To learn from, on one grid.
        mode: Of the model.
        plan: Its shape.
        settings: Of the training.
        checkpointed: Trade time for memory.
        device: Where to compute; None is the CPU.
        on_step: Told about every step.

    Raises:
        DataError: Subjects' grids differ.
        SettingsError: The folder holds a run with other settings or subjects.
        StorageError: The folder holds other files, or cannot be written.
    """
    run, file, first = RunFolder(folder), model_file(folder), current_processes().first
    device = device or torch.device("cpu")
    if settings.precision == "auto":
        # A finished run is read wherever it was computed.
        told = run.settings()["training"]["precision"] if file.exists() else None
        settings = replace(settings, precision=told or settled("auto", device))
    population = Population.of(subjects)
    decisive = {
        "mode": mode,
        "plan": asdict(plan),
        "training": asdict(settings),
        "subjects": _digest_of(subjects),
    }
    if first:
        check_run_folder(folder)
        run.claim(decisive, what="the subjects and settings")
    if file.exists():
        return read_model(file).to(device), read_card(file)
    model = fresh_model(plan, settings.seed, checkpointed=checkpointed)
    checkpoint = Checkpoint(
        folder / "training.safetensors", fingerprint=digest(canonical_json(decisive).encode())
    )
    steps = train(
        model.to(device),
        population,
        settings,
        checkpoint=checkpoint,
        on_step=logged(run, on_step) if first else ignore_step,
        name=mode,
    )
    card = _card(model, mode, plan, subjects, steps)
    if first:
        write_model(file, model, card)
        checkpoint.clear()
    return model, card


def _card(
    model: VolumeModel, mode: Mode, plan: Plan, subjects: Sequence[Subject], steps: int
) -> ModelCard:
    """What a trained model is."""
    return ModelCard(
        mode,
        asdict(plan),
        subjects[0].volume.grid,
        len(subjects),
        steps,
        None if model.outlines else faintest_of(subjects),
        ages_of(subjects),
        sexes_of(subjects),
        weights_digest(model),
    )


def check_run_folder(folder: Path) -> None:
    """Require, before long work, a folder that is new, empty or that of a run.

    Raises:
        StorageError: It holds other files, or cannot be written.
    """
    check_writable(folder)
    if not folder.is_dir() or RunFolder(folder).is_claimed:
        return
    # run.toml alone is left of a run that was stopped while it began.
    others = [file for file in folder.iterdir() if file.name[0] != "." and file.name != "run.toml"]
    if others:
        expected, remedy = "a new or empty folder, or that of a run", "Choose another folder."
        where = folder.absolute().name
        raise StorageError(Problem(expected, counted(len(others), "other file"), where, remedy))


def check_learnt_from(folder: Path, subjects: Sequence[Subject]) -> None:
    """Require that a run learnt from exactly these volumes.

    Args:
        folder: Of the run.
        subjects: In the order in which they were given to `train_in`.

    Raises:
        StorageError: The folder holds no run.
        SettingsError: The run learnt from others.
    """
    if RunFolder(folder).settings().get("subjects") != _digest_of(subjects):
        remedy = "Give the brains that it was trained with, none added, removed or changed."
        expected = "the volumes that the run learnt from"
        raise SettingsError(Problem(expected, counted(len(subjects), "other"), "brains", remedy))


def fresh_model(plan: Plan, seed: int, *, checkpointed: bool = False) -> VolumeModel:
    """A model with seeded weights; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        # Layers draw their weights from the global generator, which is put back afterwards.
        torch.manual_seed(derive_seed(seed, "mri", "weights"))  # noqa: TID251
        return model_of(plan, checkpointed=checkpointed)


def _digest_of(subjects: Sequence[Subject]) -> str:
    """Of what a model learns from: voxels, ages and sexes, in their order."""
    return digest_of_parts(
        part
        for subject in subjects
        for part in (
            np.ascontiguousarray(subject.volume.voxels).data,
            f"{subject.age_years} {subject.sex}\n".encode(),
        )
    )
