"""What age and sex do to volumes on average, by linear regression at every voxel.

Men's brains are larger, old people's ventricles wider. Such differences are small beside those
between people, and a network that is trained for a short time does not find them; least squares
does, from a few dozen people.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.mri.population import PERSON_VALUES, Persons
from envoi.precision import exactly

Volume = Float[Tensor, "... depth height width"]

# As if each slope had been measured once more, as zero: ridge regression, so that of two people
# no slope is taken at its word.
_PRIOR = 1.0
# Standard deviations from the mean that a slope is followed: few people lie beyond.
_FARTHEST = 2.5
_LEAST_SPREAD = 1e-3


class Effects(nn.Module):
    """Of age and of sex, symmetric left to right; none until it has learned.

    A value counts in standard deviations of those it was learnt from, and people whose value is
    not known as people of the mean.

    Args:
        shape: Of the volumes.

    Attributes:
        slopes: Of each value and voxel, for one standard deviation.
        mean: Of each value.
        spread: Standard deviation of each value; 0 where all people have the same.
    """

    slopes: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        voxels = torch.Size(shape).numel()
        self.register_buffer("slopes", torch.zeros(PERSON_VALUES, voxels))
        self.register_buffer("mean", torch.zeros(PERSON_VALUES))
        self.register_buffer("spread", torch.zeros(PERSON_VALUES))

    def learn(self, volumes: Iterable[Volume], persons: Persons) -> None:
        """Take the slopes from volumes, one after the other, and their people."""
        persons = persons.to(self.mean)
        known = ~persons.isnan()
        count = known.sum(dim=0).clamp_min(1)
        mean = persons.nansum(dim=0) / count
        apart = torch.where(known, persons - mean, 0.0)
        self.mean.copy_(mean)
        self.spread.copy_((apart.square().sum(dim=0) / count).sqrt())
        values = self.of(persons).nan_to_num()
        values = values - values.mean(dim=0)
        together = torch.zeros_like(self.slopes)
        for value, volume in zip(values, volumes, strict=True):
            symmetric = (volume + volume.flip(-1)).div_(2).flatten()
            for own, weight in zip(together, value, strict=True):
                own.add_(weight * symmetric)
        system = values.T @ values + _PRIOR * torch.eye(PERSON_VALUES).to(values)
        self.slopes.copy_(torch.linalg.solve(system, together))

    def usual(self, persons: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch voxel"]:
        """By how much such people differ from the mean; 0 for what is not known."""
        with exactly(self.slopes.device):
            found: Tensor = self.of(persons).nan_to_num() @ self.slopes
        return found

    def of(self, persons: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Values in standard deviations, NaN where one is not known or tells nothing."""
        persons = persons.to(self.mean)
        told = self.spread > _LEAST_SPREAD
        values = (persons - self.mean) / torch.where(told, self.spread, 1.0)
        return torch.where(told, values.clamp(-_FARTHEST, _FARTHEST), torch.nan)
