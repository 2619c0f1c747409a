"""Mean and deviation of every voxel over a population: what need not be learned.

Scans that are aligned have most of their contrast in common. What a network has to draw is how
one brain differs from the mean, in units of how much brains differ there.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Volume = Float[Tensor, "depth height width"]

# Voxels that are given beyond so many deviations tell no more.
FARTHEST = 5.0
# Of intensities from -1 to 1: a voxel that never differed may differ in the next person.
_LEAST = 0.02


class Atlas(nn.Module):
    """Of volumes of one shape; symmetric left to right, as training mirrors volumes at random.

    Args:
        shape: Of the volumes.

    Attributes:
        mean: Of each voxel.
        deviation: Of each voxel, smoothed, at least 0.02.
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

    def learn(self, volumes: Iterable[Volume], *, everywhere: bool = False) -> None:
        """Take mean and deviation from volumes, one after the other.

        Args:
            volumes: One at least.
            everywhere: Take one mean, 0, and one deviation for all voxels.
        """
        count, total, squares = 0, torch.zeros_like(self.mean), torch.zeros_like(self.mean)
        for volume in volumes:
            count, total, squares = count + 1, total + volume, squares + volume.square()
        mean, square = (_symmetric(values / count) for values in (total, squares))
        if everywhere:
            mean, variance = torch.zeros_like(mean), square.mean().expand_as(mean)
        else:
            variance = functional.avg_pool3d(
                (square - mean.square()).clamp_min(0)[None], 3, 1, 1, count_include_pad=False
            )[0].clamp_min(_LEAST**2)
        self.mean.copy_(mean)
        self.deviation.copy_(variance.sqrt())
        self.typical.copy_((variance.square().sum() / variance.sum()).sqrt())


def _symmetric(volume: Volume) -> Volume:
    return (volume + volume.flip(-1)) / 2
