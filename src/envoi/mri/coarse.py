"""The coarse half of `joint`: who somebody is, at a fraction of the size along each axis.

Nothing is trained here: coarse volumes differ from their mean as the population's covariance, age
and sex have it (`gaussian`), and are drawn exactly. A network that has met a few dozen people would
draw them all as their mean, or as one of them.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from envoi.mri.atlas import FARTHEST, Atlas
from envoi.mri.gaussian import Gaussian, Known
from envoi.mri.given import Given
from envoi.mri.joint_plan import JointPlan
from envoi.mri.population import Persons, Voxels

Coarse = Float[Tensor, "batch coarse_depth coarse_height coarse_width"]


class CoarseVolumes(nn.Module):
    """See the module.

    Args:
        plan: Of the joint model.

    Attributes:
        atlas: Mean and deviation of coarse voxels.
        gaussian: Of what differs from the mean, in units of the deviation.
    """

    def __init__(self, plan: JointPlan) -> None:
        super().__init__()
        self.plan = plan
        size = [-(-length // plan.coarse_factor) for length in plan.shape]
        self.atlas = Atlas(size)
        self.gaussian = Gaussian(size, plan.factors)

    def learn(self, volumes: Coarse, persons: Persons) -> None:
        """Take atlas, effects and covariance from the population's coarse volumes.

        Args:
            volumes: Of everybody.
            persons: Whose age and sex each is of.
        """
        self.atlas.learn(volumes, everywhere=not self.plan.atlas)
        self.gaussian.learn((volumes - self.atlas.mean) / self.atlas.deviation, persons)

    def draw(
        self, person: Float[Tensor, " value"], apart: Given, generator: torch.Generator
    ) -> Float[Tensor, "1 coarse_depth coarse_height coarse_width"]:
        """One coarse volume of such a person, as far as it is not known.

        Args:
            person: Age and sex; NaN is not known.
            apart: How given voxels differ from the mean of each over people. A slice of a block
                differs from the block in the mean, too.
            generator: Source of all randomness.
        """
        mean, share = coarse_given(apart.voxels[None], apart.mask[None], self.plan.coarse_factor)
        known = (mean[0] / self.atlas.deviation).clamp(-FARTHEST, FARTHEST)
        drawn = self.gaussian.draw(person, Known(known, share[0]), generator)
        return (self.atlas.mean + self.atlas.deviation * drawn)[None]


def coarse_of(volumes: Voxels, factor: int) -> Coarse:
    """Means of blocks of voxels; blocks at the end may be smaller."""
    return functional.avg_pool3d(volumes[:, None], factor, ceil_mode=True)[:, 0]


def coarse_given(voxels: Voxels, masks: Voxels, factor: int) -> tuple[Coarse, Coarse]:
    """Mean of the known voxels of each block (zero if there are none), and their share."""
    share = coarse_of(masks, factor)
    return coarse_of(voxels * masks, factor) / share.clamp_min(1e-6), share


def refined(coarse: Coarse, plan: JointPlan) -> Voxels:
    """The coarse volume at full size, trilinear."""
    size = [plan.coarse_factor * length for length in coarse.shape[1:]]
    large = functional.interpolate(coarse[:, None], size=size, mode="trilinear")[:, 0]
    depth, height, width = plan.shape
    return large[:, :depth, :height, :width]
