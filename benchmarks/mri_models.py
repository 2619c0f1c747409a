"""Train the four models of brain volumes for equal time on equal volumes, and draw from each.

    python benchmarks/mri_models.py BRAINS --work runs/mri --minutes 12 --modes joint,paper

A model's part of `--work` holds its run folder, one file for each volume, as the network left it,
and `cost.json`. A killed job goes on where it was. Time is processor time of one thread, so that
other work on the machine favours no model. All have equal parameters, within 10 %: the paper's
network has an eighth of its width, and fewer channels at its coarsest level.
All models learn with an average of their weights and rates that fall over the second half. The
rates of `joint`, with Muon, led the paper's network to NaN within 250 steps and left a narrower
`wavelet3d` at the noise that it began with; the baselines have AdamW and 3e-4. The published rate
of the paper's (`--published`) suits 119 million parameters and days.
`mri_quality.py` scores what is drawn here.
"""

import argparse
import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, cast

import numpy as np
import torch

from envoi.cli.progress import following
from envoi.data.brains import load_brains, split_subjects
from envoi.data.nifti import VolumePermissions
from envoi.errors import DataError
from envoi.files import write_json
from envoi.meter import environment, flop_counter
from envoi.mri.brain import as_volume
from envoi.mri.drawing import drawn_intensities
from envoi.mri.modes import Mode, plan_of, read_model
from envoi.mri.run import train_in
from envoi.mri.training import MriTraining
from envoi.seeding import numpy_generator
from envoi.volumes import Grid, Subject, Voxels

GENTLE = {"rate": 3e-4, "warm_up": 100, "cool_down": 0.5, "average": 0.999}
RECIPE = {"rate": 1e-3, "matrix_rate": 2e-2, "cool_down": 0.5, "average": 0.999}
HELD_OUT = 12
SPACING_MM = 4.0
SHAPE = (48, 56, 48)


@dataclass(frozen=True, slots=True)
class Case:
    """How one model is trained and drawn from.

    Attributes:
        changes: Of its plan: 1.32 to 1.46 million parameters.
        batch: Items of a step.
        steps: Of the solver; the paper's 1000 would take a day for 64 volumes.
        recipe: Of its training.
    """

    changes: dict[str, Any]
    batch: int
    steps: int
    recipe: dict[str, float]


CASES: dict[str, Case] = {
    "joint": Case({}, batch=8, steps=20, recipe=RECIPE),
    "paper": Case(
        {"network": {"width": 16, "multipliers": (1, 1, 2, 3, 3)}},
        batch=1,
        steps=25,
        recipe=GENTLE,
    ),
    "full3d": Case({"widths": (16, 64, 32)}, batch=1, steps=20, recipe=GENTLE),
    "wavelet3d": Case({"widths": (32, 48, 32)}, batch=1, steps=20, recipe=GENTLE),
}


def main() -> None:
    """Train and draw; one mode after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--modes", default=",".join(CASES))
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--published", action="store_true", help="Each mode's own optimiser.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, _ = subjects_of(options.brains, options.seed)
    for mode in options.modes.split(","):
        work = options.work / mode
        train(mode, training, work, options.minutes, options.seed, published=options.published)
        draw(mode, training, work, options.samples, options.seed)


def subjects_of(brains: Path, seed: int) -> tuple[tuple[Subject, ...], tuple[Subject, ...]]:
    """Those to learn from and those held out, as every part of this benchmark splits them."""
    permissions = VolumePermissions(spacing_mm=SPACING_MM, shape=SHAPE)
    return split_subjects(load_brains(brains, permissions), HELD_OUT, seed)


def train(
    mode: str,
    training: tuple[Subject, ...],
    work: Path,
    minutes: float,
    seed: int,
    *,
    published: bool,
) -> None:
    """Train a model, unless it is there."""
    case = CASES[mode]
    settings = MriTraining.of_mode(
        mode,
        steps=1_000_000,
        batch=case.batch,
        seed=seed,
        seconds=60 * minutes,
        clock="processor",
        precision="fp32",
        **({} if published else case.recipe),
    )
    plan = plan_of(mode, SHAPE, case.changes)
    with following() as on_step:
        model, card = train_in(
            work / "run", training, cast("Mode", mode), plan, settings, on_step=on_step
        )
    parameters = sum(value.numel() for value in model.parameters())
    told = {"case": asdict(case), "parameters": parameters, "steps": card.steps}
    cost = {"train_seconds": settings.seconds, "environment": environment()}
    remember(work, {**told, "faintest": card.faintest, **cost})


def draw(mode: str, training: tuple[Subject, ...], work: Path, samples: int, seed: int) -> None:
    """Draw volumes of people as old and of the sex of those in training; one file for each."""
    model, case = read_model(work / "run" / "model.safetensors"), CASES[mode]
    for number in range(1, samples + 1):
        file = work / f"volume-{number:04d}.npy"
        if file.exists():
            continue
        like = liked(training, seed, number)
        counter = flop_counter()
        began = process_time()
        with counter if number == 1 else nullcontext():
            voxels = drawn_intensities(
                model, like.age_years, like.sex, steps=case.steps, seed=seed, number=number
            )
        if number == 1:
            remember(work, {"sample_flop": counter.get_total_flops()})
        else:  # counting slows, so that the first one tells nothing of time
            seconds = [*recall(work).get("each_seconds", []), process_time() - began]
            remember(work, {"each_seconds": seconds, "sample_seconds": median(seconds)})
        np.save(file.with_suffix(".part.npy"), voxels)
        file.with_suffix(".part.npy").rename(file)
        print(f"{mode}: {number} of {samples}, {process_time() - began:.1f} s", flush=True)


def liked(people: tuple[Subject, ...], seed: int, number: int) -> Subject:
    """Of whose age and sex a volume is drawn."""
    return people[int(numpy_generator(seed, "like", number).integers(len(people)))]


def drawn_in(work: Path, grid: Grid) -> list[Voxels]:
    """One model's volumes, as `envoi mri sample` writes them; zeros where there is no brain."""
    files, made = sorted(work.glob("volume-*[0-9].npy")), []
    faintest = recall(work)["faintest"] if files else None
    for file in files:
        try:
            made.append(as_volume(np.load(file), grid, faintest).voxels)
        except DataError:  # nothing above the background: kept, so that the score knows it
            made.append(np.zeros(grid.shape, np.float32))
    return made


def recall(work: Path) -> dict[str, Any]:
    """What is known of a model."""
    file = work / "cost.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def remember(work: Path, values: dict[str, Any]) -> None:
    """Add to what is known of a model."""
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / "cost.json", {**recall(work), **values})


if __name__ == "__main__":
    main()
