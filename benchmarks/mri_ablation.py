"""What each part of `joint` brings: short trainings without it, and the loss on held-out people.

    python benchmarks/mri_ablation.py BRAINS --out benchmarks/results/mri/ablation.json

The loss is that of 72 slabs of the 12 people held out, at equal noise for every variant, in units
of v whatever is learned; lower is better. Every variant is trained by each seed on the same people;
trainings that the file has already are kept.
"""

import argparse
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

import torch
from known import known
from mri_models import SHAPE, subjects_of

from envoi.files import write_json
from envoi.meter import device_name
from envoi.mri.model import VolumeModel
from envoi.mri.modes import plan_of
from envoi.mri.population import Population
from envoi.mri.run import fresh_model
from envoi.mri.training import MriTraining, train
from envoi.seeding import torch_generator

BATCH, BATCHES, SPLIT = 8, 9, 0


@dataclass(frozen=True, slots=True)
class Variant:
    """Changes of the plan and of the training."""

    plan: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "joint": Variant(),
    "AdamW for all weights": Variant(training={"matrix_rate": 0.0}),
    "flow matching's velocity in place of v": Variant({"target": "flow"}),
    "constant rate": Variant(training={"cool_down": 0.0}),
}


def main() -> None:
    """Train every variant that is missing, and write the file after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, held_out = map(Population.of, subjects_of(options.brains, SPLIT))
    told: dict[str, Any] = {"steps": options.steps, "split": SPLIT, "device": device_name()}
    found = told["variants"] = known(options.out, told).get("variants", {})
    for seed, name in product(range(options.seeds), VARIANTS):
        by_seed = found.setdefault(name, {})
        if str(seed) not in by_seed:
            by_seed[str(seed)] = measured(training, held_out, VARIANTS[name], options.steps, seed)
            write_json(options.out, told)
            print(name, seed, by_seed[str(seed)], flush=True)


def measured(
    training: Population, held_out: Population, variant: Variant, steps: int, seed: int
) -> dict[str, float]:
    """Losses on people held out after a training, and its seconds of processor time."""
    model = fresh_model(plan_of("joint", SHAPE, variant.plan), seed)
    settings = MriTraining.of_mode(
        "joint", steps=steps, seed=seed, precision="fp32", **variant.training
    )
    began = process_time()
    train(model, training, settings)
    seconds = process_time() - began
    return losses_on(model, held_out) | {"train_seconds": seconds}


@torch.no_grad()
def losses_on(model: VolumeModel, people: Population) -> dict[str, float]:
    """Means over batches whose people, masks, times and noise are the same for every model."""
    model.eval()
    sums: dict[str, float] = {}
    for number in range(BATCHES):
        draws = torch_generator(0, "ablation", number)
        for name, loss in model.losses(people, BATCH, draws).items():
            sums[name] = sums.get(name, 0.0) + float(loss) / BATCHES
    return sums


if __name__ == "__main__":
    main()
