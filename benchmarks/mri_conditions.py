"""Do made brains change with age and sex as real ones do?

    python benchmarks/mri_conditions.py BRAINS --work runs/mri --out conditions.json

Tissue volumes (`envoi.evaluation.anatomy`, a stand-in for a segmentation) of the real people in
training, and of the volumes that `mri_models.py` drew of people as old and of the same sex, are
each regressed on age and sex by least squares: millilitres for ten years, and millilitres from
female to male, with 95 % intervals of people drawn anew.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from mri_models import SPACING_MM, subjects_of
from numpy.typing import NDArray

from envoi.evaluation.anatomy import region_volumes
from envoi.files import write_json
from envoi.meter import environment
from envoi.results import Interval
from envoi.seeding import numpy_generator
from envoi.volumes import Subject, stacked

RESAMPLES = 2000

Values = Float[NDArray[np.float64], " person"]
Design = Float[NDArray[np.float64], "person 3"]


@dataclass(frozen=True, slots=True)
class Slopes:
    """Of one region in one set of brains, in millilitres."""

    mean: float
    ten_years: Interval
    male: Interval


def main() -> None:
    """Regress both sets and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--modes", default="joint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    people, _ = subjects_of(options.brains, options.seed)
    found = {"real": slopes(stacked(people), people, options.seed)}
    for mode in options.modes.split(","):
        files = sorted((options.work / mode).glob("volume-*[0-9].npy"))
        likes = [liked(people, options.seed, number) for number in range(1, len(files) + 1)]
        found[mode] = slopes(np.stack([np.load(file) for file in files]), likes, options.seed)
    for name, regions in found.items():
        for region, one in regions.items():
            print(name, region, asdict(one))
    told = {
        name: {region: asdict(one) for region, one in regions.items()}
        for name, regions in found.items()
    }
    about = {"seed": options.seed, "resamples": RESAMPLES, "environment": environment()}
    write_json(options.out, {**about, "millilitres": told})


def liked(people: tuple[Subject, ...], seed: int, number: int) -> Subject:
    """Of whose age and sex `mri_models.py` draws a volume."""
    return people[int(numpy_generator(seed, "like", number).integers(len(people)))]


def slopes(
    volumes: Float[NDArray[np.float32], "person depth height width"],
    people: list[Subject] | tuple[Subject, ...],
    seed: int,
) -> dict[str, Slopes]:
    """Of each region, and of the whole brain."""
    measured = {str(name): ml for name, ml in region_volumes(volumes, (SPACING_MM,) * 3).items()}
    measured["brain"] = (volumes > 0).sum(axis=(1, 2, 3)) * SPACING_MM**3 / 1000
    design = np.array([[1.0, (one.age_years or 0) / 10, one.sex == "male"] for one in people])
    draws = numpy_generator(seed, "people").integers(len(people), size=(RESAMPLES, len(people)))
    return {region: _slopes(design, ml, draws) for region, ml in measured.items()}


def _slopes(design: Design, ml: Values, draws: NDArray[np.int64]) -> Slopes:
    estimate = _fit(design, ml)
    again = np.array([_fit(design[rows], ml[rows]) for rows in draws])
    low, high = np.percentile(again, (2.5, 97.5), axis=0)
    age, male = (Interval(float(estimate[n]), float(low[n]), float(high[n])) for n in (1, 2))
    return Slopes(float(ml.mean()), age, male)


def _fit(design: Design, ml: Values) -> Float[NDArray[np.float64], "3"]:
    return np.linalg.lstsq(design, ml, rcond=None)[0]


if __name__ == "__main__":
    main()
