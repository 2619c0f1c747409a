"""Do made brains change with age and sex as real ones do?

    python benchmarks/mri_conditions.py BRAINS --work runs/mri --out conditions.json
    python benchmarks/mri_conditions.py --demo runs/mri-demo --out conditions_demo.json

Tissue volumes (`envoi.evaluation.anatomy`, a stand-in for a segmentation) of the real people in
training, and of the volumes that `mri_models.py` drew of people as old and of the same sex, are
each regressed on age and sex by least squares: millilitres for ten years, and millilitres from
female to male, with 95 % intervals of people drawn anew. With `--demo` real ones are the phantoms
of `envoi mri demo` (with its default sizes and seed), drawn ones those in its folder; beside them
stands the known law of the phantoms' ventricles, at the ages of the drawn ones. People of unknown
age or sex and volumes without a brain are left out and counted.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from mri_models import SPACING_MM, drawn_in, liked, subjects_of
from numpy.typing import NDArray

from envoi.data.brains import split_subjects
from envoi.data.nifti import VolumePermissions, read_nifti, sidecar_beside
from envoi.evaluation.anatomy import region_volumes
from envoi.files import write_json
from envoi.meter import environment
from envoi.mri.phantoms import phantom_population, usual_ventricles_ml
from envoi.results import Interval
from envoi.seeding import numpy_generator
from envoi.simulation.brains import BrainDemo
from envoi.volumes import Subject, stacked

RESAMPLES = 2000

Volumes = Float[NDArray[np.float32], "person depth height width"]
Values = Float[NDArray[np.float64], " person"]
Design = Float[NDArray[np.float64], "person 3"]


@dataclass(frozen=True, slots=True)
class Slopes:
    """Of one region in one set of brains, in millilitres."""

    mean: float
    ten_years: Interval
    male: Interval


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Brains of people whose age and sex are known, and how many others there were.

    Attributes:
        volumes: One for each person.
        people: Whose age and sex they are of.
        unknown: People left out since their age or sex is not known.
        empty: Volumes of other people left out since they hold no brain.
    """

    volumes: Volumes
    people: tuple[Subject, ...]
    unknown: int
    empty: int

    @classmethod
    def of(cls, volumes: Volumes, people: Sequence[Subject]) -> "Known":
        """Those that can be regressed."""
        told = np.array([None not in (one.age_years, one.sex) for one in people])
        brain = volumes.any(axis=(1, 2, 3))
        kept = np.flatnonzero(told & brain)
        unknown, empty = int((~told).sum()), int((told & ~brain).sum())
        return cls(volumes[kept], tuple(people[number] for number in kept), unknown, empty)


def main() -> None:
    """Regress all sets and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path, nargs="?")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--demo", type=Path, help="The folder of `envoi mri demo`.")
    parser.add_argument("--modes", default="joint")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.demo:
        spacing_mm = BrainDemo().spacing_mm
        sets = of_demo(options.demo, options.seed)
    elif options.brains and options.work:
        spacing_mm = SPACING_MM
        sets = of_models(options.brains, options.work, options.modes.split(","), options.seed)
    else:
        parser.error("give BRAINS and --work, or --demo")
    found = {name: slopes(one, spacing_mm, options.seed) for name, one in sets.items()}
    if options.demo:
        found["law"] = law(sets["drawn"].people, options.seed)
    for name, regions in found.items():
        for region, one in regions.items():
            print(name, region, asdict(one))
    told = {
        name: {region: asdict(one) for region, one in regions.items()}
        for name, regions in found.items()
    }
    counts = {
        name: {"brains": len(one.people), "unknown": one.unknown, "empty": one.empty}
        for name, one in sets.items()
    }
    print("left out:", counts)
    about = {"seed": options.seed, "resamples": RESAMPLES, "environment": environment()}
    write_json(options.out, {**about, "counts": counts, "millilitres": told})


def of_models(brains: Path, work: Path, modes: Sequence[str], seed: int) -> dict[str, Known]:
    """Real people in training, and what `mri_models.py` drew."""
    people, _ = subjects_of(brains, seed)
    sets = {"real": Known.of(stacked(people), people)}
    for mode in modes:
        drawn = drawn_in(work / mode, people[0].volume.grid)
        likes = [liked(people, seed, number) for number in range(1, len(drawn) + 1)]
        sets[mode] = Known.of(np.stack(drawn), likes)
    return sets


def of_demo(folder: Path, seed: int) -> dict[str, Known]:
    """The phantoms that the demonstration learnt from, and what it drew."""
    demo = BrainDemo(seed=seed)
    every = phantom_population(demo.subjects, seed, demo.shape, demo.spacing_mm)
    people, _ = split_subjects(every, demo.held_out, seed)
    drawn = []
    for file in sorted((folder / "drawn").glob("*_T1w.nii.gz")):
        about = json.loads(sidecar_beside(file).read_text())["Settings"]
        volume = read_nifti(file, VolumePermissions(allow_skull=True), where=file.name)
        drawn.append(Subject(file.name, volume, about["Age"], about["Sex"]))
    return {
        "real": Known.of(stacked(people), people),
        "drawn": Known.of(stacked(drawn), drawn),
    }


def slopes(known: Known, spacing_mm: float, seed: int) -> dict[str, Slopes]:
    """Of each region, and of the whole brain."""
    volumes = known.volumes
    measured = {str(name): ml for name, ml in region_volumes(volumes, (spacing_mm,) * 3).items()}
    measured["brain"] = (volumes > 0).sum(axis=(1, 2, 3)) * spacing_mm**3 / 1000
    return _regressed(measured, known.people, seed)


def law(people: Sequence[Subject], seed: int) -> dict[str, Slopes]:
    """Of the ventricles that phantoms of these ages have on average: no sex, no chance."""
    usual = np.array([usual_ventricles_ml(one.age_years or 0) for one in people])
    return _regressed({"ventricles": usual}, people, seed)


def _regressed(
    measured: dict[str, Values], people: Sequence[Subject], seed: int
) -> dict[str, Slopes]:
    """Of people whose age and sex are known."""
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
