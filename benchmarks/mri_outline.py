"""How well outlines are kept by coarse distances, and drawn (`envoi.mri.outline`); seconds.

    python benchmarks/mri_outline.py BRAINS --out benchmarks/results/mri/outline.json

Coarse distances are those of the 60 people of training; Dice's coefficients of what they keep are
of the 12 held out. Then 60 brains are drawn of the ages and sexes of training: their millilitres,
and the faces of voxels between brain and background over the voxels of the brain. Last, every n-th
slice of people held out is given: Dice's coefficient of the other slices.
"""

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from mri_models import SHAPE, SPACING_MM, subjects_of
from torch import Tensor

from envoi.files import write_json
from envoi.meter import environment
from envoi.mri.coarse import coarse_of, refined
from envoi.mri.given import Given
from envoi.mri.joint import JointModel
from envoi.mri.joint_plan import JointPlan
from envoi.mri.outline import brain_of, signed_distance
from envoi.mri.population import Persons, Population
from envoi.seeding import torch_generator


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, held_out = map(Population.of, subjects_of(options.brains, options.seed))
    model = JointModel(JointPlan(shape=SHAPE))
    model.prepare(training)
    draws = torch_generator(options.seed, "outline")
    scans = [one.float() for one in held_out.voxels]
    drawn = torch.stack([outline(model, person, None, draws) for person in training.persons])
    told: dict[str, Any] = {
        "dice_of_coarse_distances": fmean([dice(again(model, scan), scan) for scan in scans]),
        "people": shapes(brain_of(training.voxels.float())),
        "drawn": shapes(drawn),
        "dice_between_given_slices": {
            f"every {every}": completed(model, held_out, every, draws) for every in (4, 8)
        },
        "dice_of_strangers": fmean(
            [
                dice(outline(model, person, None, draws), scan)
                for person, scan in zip(held_out.persons, scans, strict=True)
            ]
        ),
    }
    print(told)
    about = {"seed": options.seed, "environment": environment()}
    write_json(options.out, {**about, **told})


def outline(
    model: JointModel, person: Persons, given: Given | None, draws: torch.Generator
) -> Tensor:
    """A brain as it is drawn, 1 in it and 0 outside."""
    _, around = model._surveyed(person, given, draws)  # noqa: SLF001
    return brain_of(around.voxels)


def again(model: JointModel, scan: Tensor) -> Tensor:
    """The brain that a scan's own coarse distances keep, without unrest."""
    coarse = coarse_of(signed_distance(scan)[None], model.plan.coarse_factor)
    return (refined(coarse, model.plan)[0] + model.outline.missed > 0).to(scan)


def completed(model: JointModel, people: Population, every: int, draws: torch.Generator) -> float:
    """Mean coefficient of the slices between those that are given."""
    mask = torch.zeros(SHAPE)
    mask[::every] = 1
    found = []
    for person, voxels in zip(people.persons, people.voxels, strict=True):
        scan = voxels.float()
        brain = outline(model, person, Given(scan, mask), draws)
        found.append(dice(brain[mask == 0], scan[mask == 0]))
    return fmean(found)


def shapes(brains: Tensor) -> dict[str, float]:
    """Millilitres and their deviation, and faces over voxels."""
    voxels = brains.sum(dim=(1, 2, 3))
    faces = sum(brains.diff(dim=axis).abs().sum(dim=(1, 2, 3)) for axis in (1, 2, 3))
    millilitres = voxels * SPACING_MM**3 / 1000
    return {
        "millilitres": float(millilitres.mean()),
        "deviation": float(millilitres.std()),
        "faces": float((faces / voxels).mean()),
    }


def dice(brain: Tensor, scan: Tensor) -> float:
    """Of a brain and that of a scan."""
    other = brain_of(scan)
    return float(2 * (brain * other).sum() / (brain.sum() + other.sum()))


if __name__ == "__main__":
    main()
