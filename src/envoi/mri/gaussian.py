"""Volumes as a Gaussian: who somebody is, as far as mean and covariance tell.

The covariance is the population's, shrunk towards its diagonal as far as chance asks for (Schaefer
and Strimmer 2005, doi 10.2202/1544-6115.1175, target D): a few factors W and, of each voxel, the
variance D that they leave. Age and sex p are two factors more, with slopes B by regression
(`effects`): x = B p + W f + e. They are known of most people and drawn where they are not. Volumes
are drawn exactly, without steps; where voxels are known, by Matheron's rule: a stranger is drawn,
and moved by what the known voxels tell of how somebody differs from them.

Memory: `factors` volumes and three, and twice as many more while drawing; while learning, four
times the volumes learnt from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.mri.effects import Effects
from envoi.mri.population import Persons
from envoi.precision import exactly

Rows = Float[Tensor, "_ voxel"]
Row = Float[Tensor, " voxel"]

# Of a variance of one: what a voxel that never differed may still differ by.
_LEAST = 1e-3
# Variance of what a block of voxels that are all known tells of their mean, and what is added to
# it where half of the block is known (a quarter of it known: three times as much). Of people at
# 4 mm, one slice of four errs by 0.14 to 0.45, two by 0.05 to 0.2, three by 0.04.
_SURE, _HALF_SURE = 0.01, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of a volume.

    Attributes:
        mean: Of the known part of each block of voxels; zero where nothing is.
        share: Of each block that is known.
    """

    mean: Float[Tensor, "... _ _ _"]
    share: Float[Tensor, "... _ _ _"]


class Gaussian(nn.Module):
    """Volumes of one shape, with mean zero; symmetric left to right.

    Args:
        shape: Of the volumes.
        factors: How many; fewer where there are fewer volumes.

    Attributes:
        effects: B, and what age and sex mean.
        weights: W, `(factor, voxel)`.
        left: D, `(voxel,)`.
    """

    weights: Tensor
    left: Tensor

    def __init__(self, shape: Sequence[int], factors: int) -> None:
        super().__init__()
        voxels = torch.Size(shape).numel()
        self.effects = Effects(shape)
        self.register_buffer("weights", torch.zeros(factors, voxels))
        self.register_buffer("left", torch.ones(voxels))

    def learn(self, volumes: Float[Tensor, "subject ... _ _ _"], persons: Persons) -> None:
        """Take effects and covariance of volumes whose mean is zero; they count mirrored too.

        Args:
            volumes: Of the population.
            persons: Whose age and sex each is of.
        """
        self.effects.learn(volumes, persons)
        volumes = volumes - self.effects.usual(persons).reshape(volumes.shape)
        shared = 1 - shrinkage(volumes.flatten(1))
        # Alike left and right, and opposite: with mirrored people these are independent.
        parts = [((volumes + sign * volumes.flip(-1)) / 2).flatten(1) for sign in (1, -1)]
        del volumes
        strengths, factors = zip(
            *(_factors_of(part / len(part) ** 0.5, len(self.weights)) for part in parts),
            strict=True,
        )
        strongest = torch.cat(strengths).argsort(descending=True)[: len(self.weights)]
        self.weights.zero_()
        self.weights[: len(strongest)] = shared**0.5 * torch.cat(factors)[strongest]
        variance = sum((part.square().mean(dim=0) for part in parts), torch.zeros_like(self.left))
        left = variance + _LEAST - self.weights.square().sum(dim=0)
        self.left.copy_(left.clamp_min(_LEAST))

    def draw(
        self, person: Float[Tensor, " value"], known: Known, generator: torch.Generator
    ) -> Float[Tensor, "... _ _ _"]:
        """One volume of such a person.

        Args:
            person: Age and sex; NaN is not known.
            known: Of this volume.
            generator: Source of all randomness.
        """
        with exactly(self.left.device):
            factors = self._factors(person)
            stranger = self.effects.usual(person) + self._noise(len(factors), generator) @ factors
            stranger += self.left.sqrt() * self._noise(len(self.left), generator)
            share = known.share.flatten()
            doubt = _SURE + _HALF_SURE * (1 - share) / share.clamp_min(1e-6)
            precision = torch.where(share > 0, 1 / doubt, 0.0)
            seen = stranger + doubt.sqrt() * self._noise(len(doubt), generator)
            moved = stranger + self._told(factors, precision, known.mean.flatten() - seen)
        return moved.reshape(known.mean.shape)

    def _factors(self, person: Float[Tensor, " value"]) -> Float[Tensor, "factor voxel"]:
        """B of what is not known of a person, and W."""
        unknown = self.effects.of(person).isnan()
        return torch.cat([self.effects.slopes * unknown[:, None], self.weights])

    def _told(
        self, factors: Float[Tensor, "factor voxel"], precision: Row, seen: Row
    ) -> Float[Tensor, " voxel"]:
        """E[x] of one whose mean is zero, where voxels were seen with these precisions."""
        of_rest = 1 / (1 + precision * self.left)
        weighed = precision * of_rest
        system = torch.eye(len(factors)).to(factors) + (factors * weighed) @ factors.T
        shared = torch.linalg.solve(system, factors @ (weighed * seen)) @ factors
        expected: Tensor = shared + self.left * weighed * (seen - shared)
        return expected

    def _noise(self, count: int, generator: torch.Generator) -> Float[Tensor, " count"]:
        """Drawn on the CPU, so that every device sees the same."""
        return torch.randn(count, generator=generator).to(self.left)


def _factors_of(rows: Rows, most: int) -> tuple[Float[Tensor, " factor"], Rows]:
    """Variances and factors of a covariance that is the sum of the rows' squares, at most so many.

    From the rows' products with one another, which are far fewer than the voxels'.
    """
    strengths, mixes = torch.linalg.eigh(rows @ rows.T)
    return strengths[-most:], mixes[:, -most:].T @ rows


def shrinkage(rows: Rows) -> float:
    """Share of a covariance, off its diagonal, that chance explains; rows are independent."""
    count = len(rows)
    if count < 2:  # one tells no variance
        return 1.0
    products = (rows @ rows.T / count).square().sum()  # squares of the whole covariance
    apart = products - rows.square().mean(dim=0).square().sum()
    fourth = rows.square().sum(dim=1).square().mean() - rows.pow(4).sum(dim=1).mean()
    return float(((fourth - apart) / (count - 1) / apart).clamp(0, 1)) if apart > 0 else 1.0
