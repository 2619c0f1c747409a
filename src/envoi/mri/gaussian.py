"""Volumes as a Gaussian: what of a denoiser's answer follows from mean and covariance alone.

The covariance is the population's, shrunk towards its diagonal as far as chance asks for (Schaefer
and Strimmer 2005, doi 10.2202/1544-6115.1175, target D): a few factors W and, of each voxel, the
variance D that they leave. Age and sex p are two factors more, with slopes B by regression
(`effects`): x = B p + W f + e. They are known of most people and drawn where they are not. Noisy
and known voxels then tell the expectation of x exactly, by one small system of equations. A network
that adds to it learns from its first step on in what brains are not Gaussian.

Memory: `factors` volumes and two, and twice as many while denoising.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.mri.effects import Effects
from envoi.mri.population import Persons
from envoi.precision import exactly

Rows = Float[Tensor, "batch voxel"]

# Of a variance of one: what a voxel that never differed may still differ by.
_LEAST = 1e-3
# Variance of what a block of voxels that are all known tells of their mean, and what is added to
# it where half of the block is known (a quarter of it known: three times as much).
_SURE, _HALF_SURE = 0.01, 1.0
# Noise below is as good as none.
_LEAST_NOISE = 1e-3


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

    def learn(self, volumes: Float[Tensor, "subject _ _ _"], persons: Persons) -> None:
        """Take effects and covariance of volumes whose mean is zero; they count mirrored too.

        Args:
            volumes: Of the population.
            persons: Whose age and sex each is of.
        """
        self.effects.learn(volumes, persons)
        volumes = volumes - self.effects.usual(persons).reshape(volumes.shape)
        rows = torch.cat([volumes, volumes.flip(-1)]).flatten(1) / (2 * len(volumes)) ** 0.5
        _, roots, axes = torch.linalg.svd(rows, full_matrices=False)
        kept = min(len(self.weights), len(roots))
        shared = 1 - shrinkage(volumes.flatten(1))
        self.weights.zero_()
        self.weights[:kept] = shared**0.5 * roots[:kept, None] * axes[:kept]
        variance = rows.square().sum(dim=0) + _LEAST
        self.left.copy_((variance - self.weights.square().sum(dim=0)).clamp_min(_LEAST))

    def expected(
        self,
        noisy: Float[Tensor, "batch 1 d h w"],
        angle: Tensor,
        known: Float[Tensor, "batch 2 d h w"],
        persons: Persons,
    ) -> tuple[Float[Tensor, "batch 1 d h w"], Float[Tensor, "batch 1 d h w"]]:
        """Data and noise (`envoi.mri.angles`), as far as noisy and known voxels tell them.

        Args:
            noisy: sin(angle) data + cos(angle) noise.
            angle: Of each voxel; broadcasts with them.
            known: Mean of the known part of each block of voxels, and the share that is known.
            persons: Age and sex; NaN is not known.
        """
        with exactly(noisy.device):
            sine, cosine = angle.sin().expand_as(noisy), angle.cos().clamp_min(_LEAST_NOISE)
            mean, share = known[:, :1], known[:, 1:]
            doubt = _SURE + _HALF_SURE * (1 - share) / share.clamp_min(1e-6)
            told = torch.where(share > 0, 1 / doubt, 0.0)
            precision = (sine / cosine).square() + told
            weighed = sine / cosine.square() * noisy + told * mean
            rows = zip(precision.flatten(1), weighed.flatten(1), persons, strict=True)
            data = torch.stack([self._posterior(*row) for row in rows]).reshape(noisy.shape)
            return data, (noisy - sine * data) / cosine

    def _posterior(
        self,
        precision: Float[Tensor, " voxel"],
        weighed: Float[Tensor, " voxel"],
        person: Float[Tensor, " value"],
    ) -> Float[Tensor, " voxel"]:
        """E[x] where voxels were seen with these precisions; `weighed` is precision times seen."""
        unknown, usual = self.effects.of(person).isnan(), self.effects.usual(person)
        weights = torch.cat([self.effects.slopes * unknown[:, None], self.weights])
        of_rest = 1 / (1 + precision * self.left)
        unit = torch.eye(len(weights), device=weights.device)
        system = unit + (weights * (precision * of_rest)) @ weights.T
        apart = weighed - precision * usual
        factors = torch.linalg.solve(system, weights @ (apart * of_rest))
        shared = usual + factors @ weights
        expected: Tensor = shared + self.left * of_rest * (weighed - precision * shared)
        return expected


def shrinkage(rows: Rows) -> float:
    """Share of a covariance, off its diagonal, that chance explains; rows are independent."""
    count = len(rows)
    if count < 2:  # one tells no variance
        return 1.0
    products = (rows @ rows.T / count).square().sum()  # squares of the whole covariance
    apart = products - rows.square().mean(dim=0).square().sum()
    fourth = rows.square().sum(dim=1).square().mean() - rows.pow(4).sum(dim=1).mean()
    return float(((fourth - apart) / (count - 1) / apart).clamp(0, 1))
