"""Mean and deviation of every voxel over a population: what need not be learned.

Scans that are aligned have most of their contrast in common. What a network has to draw is how
one brain differs from the mean, in units of how much brains differ there. Where somebody has no
brain, voxels are NaN, and mean and deviation are those of the others.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Volume = Float[Tensor, "... depth height width"]

# Voxels that are given beyond so many deviations tell no more.
FARTHEST = 5.0
# Of intensities from -1 to 1: a voxel that never differed may differ in the next person.
_LEAST = 0.02


class Atlas(nn.Module):
    """Of volumes of one shape; symmetric left to right, as training mirrors volumes at random.

    Args:
        shape: Of the volumes; before their three axes, of one or several kinds of them.

    Attributes:
        mean: Of each voxel; 0 where nobody has one.
        deviation: Of each voxel, smoothed, at least 0.02. As if there were one person more, who
            differs as people do on average.
        typical: Deviation of voxels that vary: the root of the mean variance, each voxel counting
            as much as it varies.
    """

    mean: Tensor
    deviation: Tensor
    typical: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(*shape))
        self.register_buffer("deviation", torch.ones(*shape))
        self.register_buffer("typical", torch.ones(()))

    @property
    def share(self) -> Volume:
        """Deviation of each voxel in units of the typical one."""
        return self.deviation / self.typical

    def learn(self, volumes: Iterable[Volume]) -> None:
        """Take mean and deviation from volumes, one after the other.

        Args:
            volumes: One at least; NaN where somebody has no such voxel.
        """
        count, total, squares = (torch.zeros_like(self.mean) for _ in range(3))
        for volume in volumes:
            count += ~volume.isnan()
            known = volume.nan_to_num()
            total += known
            squares += known.square_()
        for sums in (count, total, squares):
            sums.add_(sums.flip(-1))
        mean = total.div_(count.clamp_min(1))
        apart = squares.sub_(count * mean.square()).clamp_min_(0)
        usual = _summed(apart) / _summed(count).clamp_min(1)
        variance = functional.avg_pool3d(
            ((apart + 2 * usual) / (count + 2))[None], 3, 1, 1, count_include_pad=False
        )[0].clamp_min(_LEAST**2)
        self.mean.copy_(mean)
        self.deviation.copy_(variance.sqrt())
        weighed = count * variance
        self.typical.copy_(((weighed * variance).sum() / weighed.sum()).sqrt())


def _summed(volume: Tensor) -> Tensor:
    """Over the voxels of each kind of volume."""
    return volume.sum(dim=(-3, -2, -1), keepdim=True)
