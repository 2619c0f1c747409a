"""The coarse half of `joint`: who somebody is, at a fraction of the size along each axis.

Two volumes tell it: what the brain within each block of voxels is like in the mean, and how far the
block lies below the brain's outline (`outline`). Nothing is trained here: both differ from their
mean as the population's covariance, age and sex have it (`gaussian`), and are drawn exactly. A
network that has met a few dozen people would draw them all as their mean, or as one of them.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from envoi.mri.atlas import FARTHEST, Atlas
from envoi.mri.gaussian import Gaussian, Known
from envoi.mri.given import Given
from envoi.mri.joint_plan import JointPlan
from envoi.mri.outline import brain_of
from envoi.mri.population import Persons, Voxels

Volume = Float[Tensor, "depth height width"]
Coarse = Float[Tensor, "batch coarse_depth coarse_height coarse_width"]
# Intensity and distance of one person.
Pair = Float[Tensor, "2 coarse_depth coarse_height coarse_width"]

# A block's mean is taken as if this share of it more were brain, and like everybody's.
_USUAL = 1 / 16


class CoarseVolumes(nn.Module):
    """See the module.

    Args:
        plan: Of the joint model.

    Attributes:
        usual: Intensity of each block's brain, over people.
        atlas: Mean and deviation of intensities and distances.
        gaussian: Of what differs from the mean, in units of the deviation.
    """

    usual: Tensor

    def __init__(self, plan: JointPlan) -> None:
        super().__init__()
        self.plan = plan
        self.register_buffer("usual", torch.zeros(*plan.coarse_shape))
        self.atlas = Atlas([2, *plan.coarse_shape])
        self.gaussian = Gaussian([2, *plan.coarse_shape], plan.factors)

    def learn_usual(self, volumes: Iterable[Volume]) -> None:
        """Take what blocks of volumes, one after the other, are like; `intensities` rests on it."""
        sums, shares = torch.zeros_like(self.usual), torch.zeros_like(self.usual)
        for volume in volumes:
            own, share = _sums_of(volume[None], self.plan.coarse_factor)
            sums, shares = sums + own[0], shares + share[0]
        sums, shares = sums + sums.flip(-1), shares + shares.flip(-1)
        overall = sums.sum() / shares.sum().clamp_min(_USUAL)
        self.usual.copy_((sums + _USUAL * overall) / (shares + _USUAL))

    def learn(self, pairs: Float[Tensor, "person 2 _ _ _"], persons: Persons) -> None:
        """Take atlas, effects and covariance.

        Args:
            pairs: Intensities and distances of everybody.
            persons: Whose age and sex each is of.
        """
        self.atlas.learn(pairs)
        self.gaussian.learn((pairs - self.atlas.mean).div_(self.atlas.deviation), persons)

    def intensities(self, volumes: Voxels) -> Coarse:
        """What the brain in each block is like: its mean, or everybody's where there is none."""
        sums, shares = _sums_of(volumes, self.plan.coarse_factor)
        return (sums + _USUAL * self.usual) / (shares + _USUAL)

    @property
    def nothing(self) -> Known:
        """Of a stranger."""
        return Known(torch.zeros_like(self.atlas.mean), torch.zeros_like(self.atlas.mean))

    def known(self, inside: Given, outline: Given) -> Known:
        """What given voxels tell of blocks, in units of their deviation.

        Args:
            inside: How given voxels of the brain differ from the mean of each over people. A slice
                of a block differs from the block in the mean, too.
            outline: Of given voxels at the outline, how the distance differs from people's mean.
        """
        factor = self.plan.coarse_factor
        means, shares = zip(
            *(coarse_given(one.voxels[None], one.mask[None], factor) for one in (inside, outline)),
            strict=True,
        )
        mean = (torch.cat(means) / self.atlas.deviation).clamp_(-FARTHEST, FARTHEST)
        share = torch.cat(shares)
        # An outline passes a block in as many voxels as a slice has, one on each side.
        share[1] = (share[1] * factor / 2).clamp_max(1)
        return Known(mean, share)

    def draw(
        self, person: Float[Tensor, " value"], known: Known, generator: torch.Generator
    ) -> Pair:
        """Intensities and distances of such a person.

        Args:
            person: Age and sex; NaN is not known.
            known: In units of the atlas' deviation, from its mean.
            generator: Source of all randomness.
        """
        drawn = self.gaussian.draw(person, known, generator)
        pair: Tensor = self.atlas.mean + self.atlas.deviation * drawn
        return pair


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


def _sums_of(volumes: Voxels, factor: int) -> tuple[Coarse, Coarse]:
    """Of each block the brain's intensities over all its voxels, and the share that is brain."""
    share = coarse_of(brain_of(volumes), factor)
    return coarse_of(volumes, factor) + (1 - share), share  # elsewhere they are -1
