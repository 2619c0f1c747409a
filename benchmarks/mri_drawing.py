"""What the ways of drawing bring: one trained `joint` model, drawn from in several ways.

    python benchmarks/mri_drawing.py BRAINS --run runs/mri/joint/run --out .../drawing.json

Without agreement, slabs are denoised around a coarse volume and may change it
(`envoi.mri.agreement`); with equal steps, the solver does not look ahead (DDIM); with two cuts,
each step takes the mean of two. Scores are against the 60 people of training, so that nobody held
out decides: Frechet distances by `random_conv` in groups of 12, MS-SSIM of pairs, variance over
brains of means of 4 x 4 x 4 voxels as a share of people's, jumps between slices along each axis
(Kolmogorov-Smirnov), and Cohen's d of tissue volumes.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from mri_models import CASES, HELD_OUT, SPACING_MM, liked, subjects_of
from torch import Tensor

from envoi.evaluation.anatomy import cohens_d, region_volumes
from envoi.evaluation.arrays import Volumes
from envoi.evaluation.extractors import random_conv
from envoi.evaluation.frechet import FrechetReference, frechet_reference, frechet_score
from envoi.evaluation.scores import AXES, PLANES
from envoi.evaluation.similarity import pair_similarity
from envoi.evaluation.through_plane import jump_distance
from envoi.files import write_json
from envoi.meter import environment
from envoi.mri import slab_denoiser
from envoi.mri.agreement import Agreement
from envoi.mri.angles import rotated, schedule
from envoi.mri.brain import as_volume
from envoi.mri.coarse import coarse_of
from envoi.mri.drawing import drawn_intensities
from envoi.mri.model import VolumeModel
from envoi.mri.modes import read_model
from envoi.mri.slab_denoiser import SlabDenoiser
from envoi.mri.solver import Parts
from envoi.volumes import Subject, stacked

VOLUMES, BLOCK = 24, 4


def main() -> None:
    """Draw in each way and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    people, _ = subjects_of(options.brains, options.seed)
    model = read_model(options.run / "model.safetensors")
    real, found = stacked(people), {}
    references = [frechet_reference(random_conv(), real, plane) for plane in PLANES]
    for name, way in WAYS.items():
        with way.changed():
            volumes = drawn(model, people, way.steps, options.seed)
        found[name] = {"steps": way.steps, **scores(volumes, real, references)}
        print(name, found[name], flush=True)
    about = {"seed": options.seed, "volumes": VOLUMES, "environment": environment()}
    write_json(options.out, {**about, "ways": found})


def equal_steps(split: Parts, state: Tensor, share: Tensor, steps: int) -> Tensor:
    """DDIM (arXiv:2010.02502, eq. 12 without noise)."""
    for step in range(steps):
        data, noise = split(state, schedule(step / steps, share), step / steps)
        state = rotated(data, noise, schedule((step + 1) / steps, share))
    return state


def two_cuts() -> AbstractContextManager[Any]:
    """Each step takes the mean of what slabs of two cuts say."""
    said = vars(SlabDenoiser)["_blended"]
    mean = lambda *asked: (said(*asked) + said(*asked)) / 2  # noqa: E731
    return patch.object(SlabDenoiser, "_blended", mean)


@dataclass(frozen=True, slots=True)
class Way:
    """Steps of the solver, and what is changed while volumes are drawn."""

    steps: int = CASES["joint"].steps
    changed: Callable[[], AbstractContextManager[Any]] = nullcontext


WAYS = {
    "as it is": Way(),
    "half the steps": Way(CASES["joint"].steps // 2),
    "twice the steps": Way(2 * CASES["joint"].steps),
    "two cuts": Way(changed=two_cuts),
    "without agreement": Way(
        changed=lambda: patch.object(Agreement, "moved", lambda _, data, *__: data)
    ),
    "equal steps": Way(changed=lambda: patch.object(slab_denoiser, "walk", equal_steps)),
}


def drawn(model: VolumeModel, people: tuple[Subject, ...], steps: int, seed: int) -> Volumes:
    """Of people as old and of the sex of those in training; equal ones in every way."""
    grid, made = people[0].volume.grid, []
    for number in range(1, VOLUMES + 1):
        like = liked(people, seed, number)
        voxels = drawn_intensities(
            model, like.age_years, like.sex, steps=steps, seed=seed, number=number
        )
        made.append(as_volume(voxels, grid, None).voxels)
    return np.stack(made)


def scores(
    volumes: Volumes, real: Volumes, references: Sequence[FrechetReference]
) -> dict[str, Any]:
    """Of one set against people, whose Frechet references are of each plane."""
    distances = [
        frechet_score(volumes, one, group_volumes=HELD_OUT, seed=0).distance for one in references
    ]
    own, theirs = (region_volumes(one, (SPACING_MM,) * 3) for one in (volumes, real))
    return {
        "frechet": dict(zip(PLANES, distances, strict=True)),
        "ms_ssim": pair_similarity(volumes, pairs=40, seed=0).mean,
        "spread": spread(volumes) / spread(real),
        "jumps": {axis: jump_distance(volumes, real, axis) for axis in AXES},
        "effects": {region: cohens_d(own[region], theirs[region]) for region in own},
    }


def spread(volumes: Volumes) -> float:
    """Variance over brains of the means of blocks."""
    return float(coarse_of(torch.from_numpy(volumes), BLOCK).var(dim=0).mean())


if __name__ == "__main__":
    main()
