"""The coarse half of `joint`: anatomy at a fraction of the size along each axis.

A 3D network adds to what the covariance over the population, age and sex tell (`gaussian`), of what
differs from the coarse atlas in units of how much it differs there. It is heard the more, the
better single voxels are seen: who somebody is, as far as brains differ as a whole, is decided
before that, and a network that has met a few dozen people would draw all as their mean, or as one
of them.

In training it meets people with the covariance over others (`folds`).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from envoi.mri.angles import (
    Times,
    compared,
    parts,
    random_times,
    rotated,
    schedule,
    target_of,
)
from envoi.mri.atlas import FARTHEST, Atlas
from envoi.mri.conditioned import Conditioned, signed
from envoi.mri.conditions import hidden
from envoi.mri.folds import Fold, blank_folds, fold_for, folds_of
from envoi.mri.gaussian import Gaussian
from envoi.mri.given import Given, random_mask
from envoi.mri.joint_plan import JointPlan
from envoi.mri.population import Persons, Population, Voxels
from envoi.mri.solver import walk
from envoi.mri.unet import UNet, UNetPlan

# Noise over signal, at a voxel of typical variance, where half of the network's answer counts.
SEEN = 2.0

Coarse = Float[Tensor, "batch coarse_depth coarse_height coarse_width"]
# Mean of the known voxels of each block, and their share.
Known = Float[Tensor, "batch 2 coarse_depth coarse_height coarse_width"]


class CoarseDenoiser(nn.Module):
    """See the module.

    Args:
        plan: Of the joint model.
        checkpointed: Trade time for memory in training.
    """

    def __init__(self, plan: JointPlan, *, checkpointed: bool = False) -> None:
        super().__init__()
        self.plan = plan
        size = [-(-length // plan.coarse_factor) for length in plan.shape]
        network = UNetPlan(dimensions=3, inputs=4, outputs=1, widths=plan.coarse_widths)
        self.network = Conditioned(UNet(network, checkpointed=checkpointed), conditions=1 + 2)
        self.atlas = Atlas(size)
        self.gaussian = Gaussian(size, plan.factors)
        self.folds: list[Fold] = []  # of training alone, so no part of the model's state

    def learn(self, coarse: Coarse, persons: Persons, people: Sequence[int]) -> None:
        """Take mean, deviation and covariance from the population's coarse volumes.

        Args:
            coarse: All of them.
            persons: Of whose age and sex each is.
            people: Whose each is.
        """
        self.atlas.learn(coarse, everywhere=not self.plan.atlas)
        rows = (coarse - self.atlas.mean) / self.atlas.deviation
        self.gaussian.learn(rows, persons)
        self.folds = folds_of(rows, persons, people, self.plan.factors, self.plan.folds)

    def forget(self) -> None:
        """Have folds as large as those of any population, of one volume, for a prediction."""
        self.folds = blank_folds(self.atlas.mean.shape, self.plan.factors, self.plan.folds)

    def loss(
        self, population: Population, batch: int, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Mean squared error of `batch` volumes: of the target in training, else of v.

        Args:
            population: In training, the one that was learnt from.
            batch: How many.
            generator: Source of all randomness.

        Raises:
            MethodError: In training, the population has another number of volumes.
        """
        device, shape, gaussian = self.atlas.mean.device, self.plan.shape, self.gaussian
        members = None
        if self.training and self.folds:
            fold = fold_for(self.folds, len(population.voxels), generator)
            members, gaussian = fold.members, fold.others.to(device)
        volumes, persons = population.drawn(batch, generator, members)
        nothing = self.plan.nothing_given
        masks = torch.stack([random_mask(shape, generator, nothing=nothing) for _ in range(batch)])
        known = self._known(volumes.to(device), masks.to(device))
        clean = coarse_of(volumes[:, None], self.plan.coarse_factor).to(device)
        data = (clean - self.atlas.mean) / self.atlas.deviation
        times = random_times(batch, generator)
        angle = schedule(times[:, None, None, None, None].to(data), self.atlas.share)
        noise = torch.randn(data.shape, generator=generator).to(device)
        mixed = rotated(data, noise, angle)
        found = self._says(gaussian, mixed, angle, times, hidden(persons, generator), known)
        both = compared(found, mixed, data, noise, angle, self.plan.target, learning=self.training)
        return functional.mse_loss(*both)

    def draw(
        self, person: Persons, given: Given, steps: int, generator: torch.Generator
    ) -> Float[Tensor, "1 coarse_depth coarse_height coarse_width"]:
        """One coarse volume."""
        known = self._known(given.voxels[None], given.mask[None])

        def split(state: Tensor, angle: Tensor, time: float) -> tuple[Tensor, Tensor]:
            times = torch.full((1,), time)
            said = self._says(self.gaussian, state, angle, times, person, known)
            return parts(state, said, angle, self.plan.target)

        start = torch.randn(known[:, :1].shape, generator=generator).to(known.device)
        drawn = walk(split, start, self.atlas.share, steps)[:, 0]
        return self.atlas.mean + self.atlas.deviation * drawn

    def _known(self, voxels: Voxels, masks: Voxels) -> Known:
        """`coarse_given`, less the atlas and in units of its deviation where anything is known."""
        given = coarse_given(voxels, masks, self.plan.coarse_factor)
        mean, share = given[:, :1], given[:, 1:]
        apart = ((mean - self.atlas.mean) / self.atlas.deviation).clamp(-FARTHEST, FARTHEST)
        return torch.cat([torch.where(share > 0, apart, 0.0), share], dim=1)

    def _says(
        self,
        gaussian: Gaussian,
        mixed: Tensor,
        angle: Tensor,
        times: Tensor,
        persons: Persons,
        known: Known,
    ) -> Tensor:
        """What follows from a covariance, and what the network adds to it."""
        data, noise = gaussian.expected(mixed, angle, known, persons)
        values = torch.cat([signed(times)[:, None].to(persons.device), persons], dim=1)
        maps = torch.cat([mixed, known, data], dim=1)
        added: Tensor = self.network(maps, values.to(maps.device))
        if self.plan.factors:  # else nobody but the network knows how voxels go together
            added = added * heard(times).to(added)[:, None, None, None, None]
        return target_of(data, noise, angle, self.plan.target) + added


def heard(times: Times, seen: float = SEEN) -> Times:
    """Share of the network's answer that counts: half, where noise is `seen` times the signal."""
    return schedule(times, torch.tensor(seen)).sin().square()


def coarse_of(volumes: Float[Tensor, "batch 1 depth height width"], factor: int) -> Tensor:
    """Means of blocks of voxels; blocks at the end may be smaller."""
    return functional.avg_pool3d(volumes, factor, ceil_mode=True)


def coarse_given(voxels: Voxels, masks: Voxels, factor: int) -> Known:
    """Mean of the known voxels of each block (zero if there are none), and their share."""
    share = coarse_of(masks[:, None], factor)
    mean = coarse_of((voxels * masks)[:, None], factor) / share.clamp_min(1e-6)
    return torch.cat([mean, share], dim=1)


def refined(coarse: Coarse, plan: JointPlan) -> Voxels:
    """The coarse volume at full size, trilinear."""
    size = [plan.coarse_factor * length for length in coarse.shape[1:]]
    large = functional.interpolate(coarse[:, None], size=size, mode="trilinear")[:, 0]
    depth, height, width = plan.shape
    return large[:, :depth, :height, :width]
