"""The linear part of a denoiser: how much of noisy voxels to take from their surroundings.

Neighbouring voxels differ from the atlas alike, noise does not, so the best linear guess smooths.
A network learns that slowly, as its norms hide how large its inputs are; here are a few weights for
it alone, which start at zero.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Smoothing(nn.Module):
    """A sum of the voxels and of their means over cubes, by weights that the conditions decide.

    Args:
        embedding: Width of the vector of conditions.
        times: How often the mean of 3 x 3 x 3 voxels is taken.
    """

    def __init__(self, embedding: int, times: int) -> None:
        super().__init__()
        self.times = times
        self.weights = nn.Linear(embedding, 1 + times)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def forward(
        self,
        voxels: Float[Tensor, "batch 1 depth row column"],
        conditions: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch depth row column"]:
        """One value for each voxel."""
        smooth = [voxels]
        for _ in range(self.times):
            mean = functional.avg_pool3d(smooth[-1], 3, 1, 1, count_include_pad=False)
            smooth.append(mean)
        weights = self.weights(conditions)[:, :, None, None, None]
        summed: Tensor = (torch.cat(smooth, dim=1) * weights).sum(dim=1)
        return summed
