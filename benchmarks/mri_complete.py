"""Complete held-out brains from some of their slices, beside interpolation of these slices.

    python benchmarks/mri_complete.py BRAINS --work runs/mri --out complete.json

The model is the `joint` one that `mri_models.py` trained. Each of the 12 held-out people gives
every n-th axial slice; errors are of the others, over the voxels of the true brain. `psnr_db` is of
the mean squared error over people; `sharpness` is the mean absolute step between neighbouring
rows, over that of the true slices (1 is as sharp as a scan, a blurred slice has less).
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from mri_models import CASES, SPACING_MM, subjects_of
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from envoi.files import write_json
from envoi.meter import environment
from envoi.mri.api import BrainModel, load_brain_model
from envoi.mri.brain import completed
from envoi.mri.drawing import drawn_intensities
from envoi.mri.given import given_slices
from envoi.mri.slabs import Plane
from envoi.volumes import Subject

Voxels = Float[NDArray[np.float32], "depth height width"]
DEGREES = {"linear": 1, "cubic": 3}


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one way to fill slices, the mean over people; intensities are from 0 to 1."""

    mean_absolute: float
    psnr_db: float
    sharpness: float


def main() -> None:
    """Complete everybody from every n-th slice and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", default="2,4,8")
    parser.add_argument("--draws", type=int, default=4, help="Volumes of each person.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_brain_model(options.work / "joint" / "run")
    _, people = subjects_of(options.brains, options.seed)
    if not all(2 <= int(every) <= 12 for every in options.every.split(",")):
        parser.error("--every takes numbers from 2 to 12")
    found = {}
    for every in map(int, options.every.split(",")):
        filled = [
            ways(
                trained, one, every, range(options.draws * n, options.draws * (n + 1)), options.seed
            )
            for n, one in enumerate(people)
        ]
        found[f"every {every}"] = {
            way: asdict(errors([volumes[way] for volumes in filled], people, every))
            for way in filled[0]
        }
        print(every, found[f"every {every}"], flush=True)
    about = {"people": len(people), "draws": options.draws, "spacing_mm": SPACING_MM}
    about |= {"steps": CASES["joint"].steps, "seed": options.seed}
    write_json(options.out, {**about, "environment": environment(), "given": found})


def ways(
    trained: BrainModel, person: Subject, every: int, numbers: Sequence[int], seed: int
) -> dict[str, Voxels]:
    """The brain of a person, filled in each way; by the model once for each number."""
    scan = person.volume
    known = given_slices(scan.voxels, Plane.AXIAL, every=every)
    drawn = []
    for number in numbers:
        voxels = drawn_intensities(
            trained.model,
            person.age_years,
            person.sex,
            steps=CASES["joint"].steps,
            seed=seed,
            number=number,
            given=known,
        )
        faintest = trained.card.faintest
        drawn.append(completed(voxels, scan, known.mask.numpy() > 0, faintest).voxels)
    kept = np.arange(0, len(scan.voxels), every)
    return {
        "joint, one": drawn[0],
        f"joint, mean of {len(drawn)}": np.mean(drawn, axis=0),
        **{name: interpolated(scan.voxels, kept, degree) for name, degree in DEGREES.items()},
    }


def interpolated(voxels: Voxels, kept: NDArray[np.int64], degree: int) -> Voxels:
    """Splines through the kept slices; beyond the last one it stays as it is."""
    curve = make_interp_spline(kept, voxels[kept], k=degree)
    places = np.arange(len(voxels)).clip(kept[0], kept[-1])
    return np.asarray(curve(places), np.float32).clip(0, 1)


def errors(filled: list[Voxels], people: tuple[Subject, ...], every: int) -> Errors:
    """Over the slices that were not given."""
    pairs = zip(filled, people, strict=True)
    told = [_errors(one, person.volume.voxels, every) for one, person in pairs]
    absolute, squared, steps = np.mean(told, axis=0)
    return Errors(float(absolute), float(-10 * np.log10(squared)), float(steps))


def _errors(filled: Voxels, true: Voxels, every: int) -> tuple[float, float, float]:
    missing = np.arange(len(true)) % every > 0
    filled, true = filled[missing], true[missing]
    apart = (filled - true)[true > 0]
    inside = (true > 0)[:, 1:] & (true > 0)[:, :-1]
    steps = [np.abs(np.diff(one, axis=1))[inside].mean() for one in (filled, true)]
    return float(np.abs(apart).mean()), float(np.square(apart).mean()), float(steps[0] / steps[1])


if __name__ == "__main__":
    main()
