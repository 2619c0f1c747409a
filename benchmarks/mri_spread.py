"""How much of the spread of coarse brains few steps of a solver keep.

    python benchmarks/mri_spread.py BRAINS --out benchmarks/results/mri/spread.json

Coarse volumes are drawn by the population's covariance, age and sex alone (`envoi.mri.gaussian`;
no network, so that the right answer is known): by `envoi.mri.solver.walk`, and by equal steps that
do not look ahead (DDIM), from the same noise and of people as old and of the sex of those learnt
from. Told are the variance of voxels (mean over voxels, in units of the atlas' deviation) and the
deviation over people of the mean intensity of all voxels, beside what the covariance holds and what
the people have.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from mri_models import SHAPE, subjects_of
from torch import Tensor

from envoi.files import write_json
from envoi.meter import environment
from envoi.mri.angles import rotated, schedule
from envoi.mri.coarse import CoarseDenoiser, coarse_of
from envoi.mri.joint import JointModel
from envoi.mri.joint_plan import JointPlan
from envoi.mri.population import Persons, Population
from envoi.mri.solver import Parts, walk
from envoi.seeding import torch_generator

PEOPLE = 128
STEPS = (20, 40, 200)

Volumes = Float[Tensor, "person _ _ _"]
Walk = Callable[[Parts, Tensor, Tensor, int], Tensor]


def main() -> None:
    """Draw in each way and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    population = Population.of(subjects_of(options.brains, options.seed)[0])
    model = JointModel(JointPlan(shape=SHAPE))
    model.prepare(population)
    coarse, factor = model.coarse, model.plan.coarse_factor
    people = torch.cat([coarse_of(one[None, None], factor)[0] for one in population.voxels.float()])
    generator = torch_generator(options.seed, "spread")
    like = population.persons[torch.randint(len(people), (PEOPLE,), generator=generator)]
    noise = torch.randn(PEOPLE, 1, *people.shape[1:], generator=generator)
    found = {"people": told((people - coarse.atlas.mean) / coarse.atlas.deviation)}
    ways: dict[str, Walk] = {"walk": walk, "equal steps": equal_steps}
    for name, way in ways.items():
        for steps in STEPS:
            found[f"{name}, {steps}"] = told(drawn(coarse, way, noise, like, steps))
    gaussian = coarse.gaussian
    held = gaussian.effects.slopes.square().sum(0) + gaussian.weights.square().sum(0)
    found["covariance"] = {"variance": float((held + gaussian.left).mean())}
    for name, one in found.items():
        print(name, one)
    about = {"seed": options.seed, "drawn": PEOPLE, "environment": environment()}
    write_json(options.out, {**about, "spread": found})


def drawn(
    coarse: CoarseDenoiser, way: Walk, noise: Tensor, persons: Persons, steps: int
) -> Volumes:
    """By the covariance alone, in units of the atlas' deviation."""
    known = torch.zeros(len(noise), 2, *noise.shape[2:])

    def split(state: Tensor, angle: Tensor, time: float) -> tuple[Tensor, Tensor]:
        del time
        return coarse.gaussian.expected(state, angle, known, persons)

    return way(split, noise, coarse.atlas.share, steps)[:, 0]


def equal_steps(split: Parts, state: Tensor, share: Tensor, steps: int) -> Tensor:
    """DDIM (arXiv:2010.02502, eq. 12 without noise)."""
    for step in range(steps):
        data, noise = split(state, schedule(step / steps, share), step / steps)
        state = rotated(data, noise, schedule((step + 1) / steps, share))
    return state


def told(volumes: Volumes) -> dict[str, float]:
    """Their spread over people."""
    whole = volumes.mean(dim=(1, 2, 3)).std()
    return {"variance": float(volumes.var(dim=0).mean()), "deviation_of_mean": float(whole)}


if __name__ == "__main__":
    main()
