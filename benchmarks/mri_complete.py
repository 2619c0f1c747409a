"""Complete held-out brains from some of their slices, beside interpolation of these slices.

    python benchmarks/mri_complete.py BRAINS --work runs/mri --out complete.json

The model is the `joint` one that `mri_models.py` trained. Each of the 12 held-out people gives
every n-th slice of a plane, or all but a block of them (`--cuts axial:4,coronal:4,axial:20-28`:
every 4th axial one, every 4th coronal one, all axial ones but 20 to 27); errors are of the others,
over the voxels of the true brain. `psnr_db` is of the mean squared error over people; `sharpness`
is the mean absolute step between neighbouring rows of a slice, over that of the true slices (1 is
as sharp as a scan, a blurred slice has less).
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


@dataclass(frozen=True, slots=True)
class Cut:
    """Which slices of a plane are given: every n-th, or those outside a block."""

    plane: Plane
    every: int
    missing: range | None

    @classmethod
    def called(cls, words: str) -> "Cut":
        """Of `axial:4` or `axial:20-28`."""
        plane, _, law = words.partition(":")
        first, dash, last = law.partition("-")
        if dash:
            return cls(Plane(plane), 0, range(int(first), int(last)))
        return cls(Plane(plane), int(law), None)

    @property
    def name(self) -> str:
        """For people."""
        if self.missing is None:
            return f"every {self.every}" + f", {self.plane.value}" * (self.plane != Plane.AXIAL)
        return f"without {self.missing.start} to {self.missing.stop - 1}, {self.plane.value}"

    def kept(self, slices: int) -> NDArray[np.int64]:
        """The numbers of the slices that are given."""
        if self.missing is None:
            return np.arange(0, slices, self.every)
        return np.setdiff1d(np.arange(slices), np.asarray(self.missing))


def main() -> None:
    """Complete everybody from every n-th slice and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cuts", default="axial:2,axial:4,axial:8")
    parser.add_argument("--draws", type=int, default=4, help="Volumes of each person.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_brain_model(options.work / "joint" / "run")
    _, people = subjects_of(options.brains, options.seed)
    found = {}
    for cut in map(Cut.called, options.cuts.split(",")):
        filled = [
            ways(trained, one, cut, range(options.draws * n, options.draws * (n + 1)), options.seed)
            for n, one in enumerate(people)
        ]
        found[cut.name] = {
            way: asdict(errors([volumes[way] for volumes in filled], people, cut))
            for way in filled[0]
        }
        print(cut.name, found[cut.name], flush=True)
    about = {"people": len(people), "draws": options.draws, "spacing_mm": SPACING_MM}
    about |= {"steps": CASES["joint"].steps, "seed": options.seed}
    write_json(options.out, {**about, "environment": environment(), "given": found})


def ways(
    trained: BrainModel, person: Subject, cut: Cut, numbers: Sequence[int], seed: int
) -> dict[str, Voxels]:
    """The brain of a person, filled in each way; by the model once for each number."""
    scan = person.volume
    kept = cut.kept(len(across(scan.voxels, cut)))
    known = given_slices(scan.voxels, cut.plane, slices=",".join(map(str, kept)))
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
    return {
        "joint, one": drawn[0],
        f"joint, mean of {len(drawn)}": np.mean(drawn, axis=0),
        **{name: interpolated(scan.voxels, cut, degree) for name, degree in DEGREES.items()},
    }


def across(voxels: Voxels, cut: Cut) -> Voxels:
    """A view whose first axis goes from slice to slice."""
    return np.moveaxis(voxels, cut.plane.axis, 0)


def interpolated(voxels: Voxels, cut: Cut, degree: int) -> Voxels:
    """Splines through the kept slices; beyond the last one it stays as it is."""
    slices = across(voxels, cut)
    kept = cut.kept(len(slices))
    curve = make_interp_spline(kept, slices[kept], k=degree)
    places = np.arange(len(slices)).clip(kept[0], kept[-1])
    filled = np.asarray(curve(places), np.float32).clip(0, 1)
    return np.moveaxis(filled, 0, cut.plane.axis)


def errors(filled: list[Voxels], people: tuple[Subject, ...], cut: Cut) -> Errors:
    """Over the slices that were not given."""
    pairs = zip(filled, people, strict=True)
    told = [_errors(across(one, cut), across(p.volume.voxels, cut), cut) for one, p in pairs]
    absolute, squared, steps = np.mean(told, axis=0)
    return Errors(float(absolute), float(-10 * np.log10(squared)), float(steps))


def _errors(filled: Voxels, true: Voxels, cut: Cut) -> tuple[float, float, float]:
    missing = np.ones(len(true), bool)
    missing[cut.kept(len(true))] = False
    filled, true = filled[missing], true[missing]
    apart = (filled - true)[true > 0]
    inside = (true > 0)[:, 1:] & (true > 0)[:, :-1]
    steps = [np.abs(np.diff(one, axis=1))[inside].mean() for one in (filled, true)]
    return float(np.abs(apart).mean()), float(np.square(apart).mean()), float(steps[0] / steps[1])


if __name__ == "__main__":
    main()
