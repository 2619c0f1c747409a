"""The demonstration of the 3D half: made brains, a model of them, volumes out of it, and scores."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envoi.data.brains import split_subjects
from envoi.data.nifti import write_nifti
from envoi.evaluation.scores import SetScores, VolumeScores
from envoi.evaluation.volumes import EvaluationSettings, compare_volumes
from envoi.files import write_json
from envoi.meter import Cost, environment, metered
from envoi.mri.brain import as_volume
from envoi.mri.drawing import drawn_intensities, sidecar_of
from envoi.mri.model import VolumeModel
from envoi.mri.modes import ModelCard, plan_of
from envoi.mri.phantoms import phantom_population
from envoi.mri.run import train_in
from envoi.mri.training import MriTraining
from envoi.precision import settled
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo
from envoi.seeding import numpy_generator
from envoi.volumes import Subject, stacked


@dataclass(frozen=True, slots=True, kw_only=True)
class BrainDemo:
    """How large the demonstration is; the defaults end within ten minutes on two cores.

    Attributes:
        subjects: Made brains.
        held_out: Of them, what training never sees.
        minutes: Of training.
        samples: Volumes that are drawn.
        steps: Of the solver.
        shape: Depth, height, width in voxels.
        spacing_mm: Of a voxel.
        seed: Of everything.
        training_steps: At the most.
    """

    subjects: int = 60
    held_out: int = 12
    minutes: float = 6.0
    samples: int = 16
    steps: int = 20
    shape: tuple[int, int, int] = (40, 48, 40)
    spacing_mm: float = 4.8
    seed: int = 0
    training_steps: int = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class BrainDemoResult:
    """What came out.

    Attributes:
        training: Brains that were learned from.
        held_out: Brains that were not.
        synthetic: Drawn ones.
        scores: Of the drawn ones, of real against real, and of controls.
        steps: Of training, as many as the time sufficed for.
        seconds: Wall time of training, drawing and scoring, of this call: a training that went on
            from an interrupted one counts what was left of it.
        environment: Versions and device, with its threads.
    """

    training: tuple[Subject, ...]
    held_out: tuple[Subject, ...]
    synthetic: tuple[Subject, ...]
    scores: VolumeScores
    steps: int
    seconds: dict[str, float]
    environment: dict[str, str]


def run_brain_demo(
    folder: Path,
    settings: BrainDemo | None = None,
    *,
    on_step: OnStep = ignore_step,
    device: torch.device | None = None,
) -> BrainDemoResult:
    """Run the demonstration in `folder`: `run/`, `drawn/`, `scores.json` and `summary.json`.

    Args:
        folder: An interrupted demonstration goes on with its training.
        settings: None is the defaults.
        on_step: Told about each step.
        device: Where to train and draw; None is the CPU.

    Raises:
        DataError: The model has not learned to draw a brain.
        SettingsError: The folder holds a run with other settings.
    """
    settings, device = settings or BrainDemo(), device or torch.device("cpu")
    people = phantom_population(
        settings.subjects, settings.seed, settings.shape, settings.spacing_mm
    )
    training, held_out = split_subjects(people, settings.held_out, settings.seed)
    with metered(device) as trained:
        model, card = train_in(
            folder / "run",
            training,
            "joint",
            plan_of("joint", settings.shape, {}),
            MriTraining.of_mode(
                "joint",
                steps=settings.training_steps,
                seconds=60 * settings.minutes,
                seed=settings.seed,
            ),
            device=device,
            on_step=on_step,
        )
    with metered(device) as drew:
        synthetic = _drawn(model.to(device), card, training, folder / "drawn", settings, on_step)
    with metered(device) as compared:
        scores = compare_volumes(
            stacked(training),
            stacked(held_out),
            stacked(synthetic),
            EvaluationSettings(spacing_mm=(settings.spacing_mm,) * 3, seed=settings.seed),
            on_step=on_step,
        )
    write_json(folder / "scores.json", asdict(scores))
    result = BrainDemoResult(
        training,
        held_out,
        synthetic,
        scores,
        card.steps,
        _seconds(trained, drew, compared),
        environment(device),
    )
    write_json(folder / "summary.json", summary(result))
    return result


def summary(result: BrainDemoResult) -> dict[str, Any]:
    """The main figures, for programs."""
    ours, real = result.scores.synthetic, result.scores.held_out
    ventricles = ours.region("ventricles")
    return {
        "training_steps": result.steps,
        "brains": len(result.training),
        "drawn": len(result.synthetic),
        "frechet": _mean_distances(ours),
        "frechet_held_out": _mean_distances(real),
        "ventricles_ml": _spread(ventricles.millilitres),
        "ventricles_ml_made_brains": _spread(ventricles.reference_millilitres),
        "effects": {one.region: one.effect.value for one in ours.anatomy},
        "seams_anywhere": ours.through_plane.seams_anywhere,
        "seams_anywhere_held_out": real.through_plane.seams_anywhere,
        "copies": ours.copied,
        "seconds": result.seconds,
        "environment": result.environment,
    }


def verdict(result: BrainDemoResult) -> list[str]:
    """The demonstration in a few lines for the terminal."""
    found = summary(result)
    drawn, made = found["ventricles_ml"], found["ventricles_ml_made_brains"]
    extractor = result.scores.synthetic.extractors[0]
    return [
        (
            f"{found['drawn']} brains drawn after {found['training_steps']} steps "
            f"of training on {found['brains']} made ones."
        ),
        (
            f"Ventricles: {drawn['mean']:.0f} ml (deviation {drawn['deviation']:.0f}); "
            f"made brains {made['mean']:.0f} ml (deviation {made['deviation']:.0f})."
        ),
        (
            f"Frechet distance, {extractor}: {found['frechet'][extractor]:.1f}; "
            f"made brains that were held out: {found['frechet_held_out'][extractor]:.1f}."
        ),
        (
            f"Seams anywhere {found['seams_anywhere']:.1f} deviations; made brains that were held "
            f"out: {found['seams_anywhere_held_out']:.1f}. Copies {found['copies']}."
        ),
    ]


def _drawn(
    model: VolumeModel,
    card: ModelCard,
    training: tuple[Subject, ...],
    folder: Path,
    settings: BrainDemo,
    on_step: OnStep,
) -> tuple[Subject, ...]:
    """Volumes of people as old and of the sex of those in training, written as NIfTI.

    Those of an earlier demonstration are removed.
    """
    for old in folder.glob("synthetic-*"):
        old.unlink()
    drawn = []
    for number in range(1, settings.samples + 1):
        generator = numpy_generator(settings.seed, "mri", "demo", number)
        like = training[int(generator.integers(len(training)))]
        steps, seed = settings.steps, settings.seed
        voxels = drawn_intensities(
            model, like.age_years, like.sex, steps=steps, seed=seed, number=number
        )
        volume = as_volume(voxels, card.grid, card.faintest)
        name = f"synthetic-{number:04d}"
        sidecar = sidecar_of(
            card,
            steps=steps,
            seed=seed,
            number=number,
            precision=settled("auto", model.device),
            about={"Age": like.age_years, "Sex": like.sex},
        )
        write_nifti(volume, folder / f"{name}_T1w.nii.gz", sidecar)
        drawn.append(Subject(name, volume, like.age_years, like.sex))
        on_step(StepInfo("draw", number, settings.samples, {}))
    return tuple(drawn)


def _seconds(trained: Cost, drew: Cost, compared: Cost) -> dict[str, float]:
    """Wall time by part."""
    parts = {"training": trained, "drawing": drew, "scoring": compared}
    return {name: round(cost.wall_seconds, 1) for name, cost in parts.items()}


def _mean_distances(scores: SetScores) -> dict[str, float]:
    """Frechet distances on each extractor, the mean over the planes."""
    return {
        name: float(np.mean(list(scores.distances(name).values()))) for name in scores.extractors
    }


def _spread(millilitres: tuple[float, ...]) -> dict[str, float]:
    return {"mean": float(np.mean(millilitres)), "deviation": float(np.std(millilitres))}
