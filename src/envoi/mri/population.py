"""Subjects as tensors: what every model of this room learns from."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from envoi.mri.outline import DARKEST
from envoi.volumes import Sex, Subject, check_alike

# One row for each person: age, sex; NaN is not known.
Persons = Float[Tensor, "batch 2"]
PERSON_VALUES = 2
Voxels = Float[Tensor, "batch depth height width"]
_SEXES: dict[Sex | None, float] = {"female": 1.0, "male": -1.0, None: float("nan")}


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Volumes in memory, `subjects x depth x height x width x 2` bytes.

    Attributes:
        voxels: Half precision, from -1 to 1, exactly -1 outside the brain and nowhere in it.
        persons: Of each volume.
    """

    voxels: Voxels
    persons: Persons

    @classmethod
    def of(cls, subjects: Sequence[Subject]) -> "Population":
        """All subjects, on one grid; beside them and the population one volume lives at a time.

        Raises:
            DataError: Their grids differ.
        """
        check_alike(subjects)
        whole = torch.empty(len(subjects), *subjects[0].volume.grid.shape, dtype=torch.half)
        for own, subject in zip(whole, subjects, strict=True):
            voxels = np.ascontiguousarray(2 * subject.volume.voxels - 1)
            np.maximum(voxels, DARKEST, out=voxels, where=subject.volume.voxels > 0)
            own.copy_(torch.from_numpy(voxels))
        rows = [person(subject.age_years, subject.sex) for subject in subjects]
        return cls(whole, torch.stack(rows))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Depth, height and width."""
        depth, height, width = self.voxels.shape[1:]
        return depth, height, width

    def drawn(self, count: int, generator: torch.Generator) -> tuple[Voxels, Persons]:
        """`count` volumes with replacement, each mirrored left to right or not."""
        index: Int[Tensor, " batch"] = torch.randint(
            len(self.voxels), (count,), generator=generator
        )
        mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
        voxels = self.voxels[index].float()
        return torch.where(mirrored, voxels.flip(-1), voxels), self.persons[index]


def volume_bytes(shape: Sequence[int]) -> int:
    """What one brain takes while a model learns from it: a subject's fp32, a population's half."""
    return (4 + 2) * prod(shape)


def person(age_years: float | None, sex: Sex | None) -> Float[Tensor, " 2"]:
    """Age and sex as a network is told them, each about within -1..1."""
    age = float("nan") if age_years is None else (age_years - 50) / 50
    return torch.tensor([age, _SEXES[sex]])


def intensities(voxels: Voxels) -> np.ndarray:
    """From -1..1 back to 0..1, as `Volume` holds them; rounding aside, nothing else changes."""
    return ((voxels.float() + 1) / 2).clamp(0, 1).cpu().numpy()
