"""The linear part of a denoiser: how much of noisy voxels to take from their surroundings.

Neighbouring voxels differ from the atlas alike, noise does not, so the best linear guess smooths.
A network learns that slowly, as its norms hide how large its inputs are; here are a few weights for
it alone, which start at zero.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Smoothing(nn.Module):
    """A sum of the voxels and of them smoothed, by weights that the conditions decide.

    Args:
        embedding: Width of the vector of conditions.
        times: How often they are smoothed; each time takes means of 3 x 3 x 3.
    """

    def __init__(self, embedding: int, times: int) -> None:
        super().__init__()
        self.weights = nn.Linear(embedding, 1 + times)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def forward(
        self,
        voxels: Float[Tensor, "batch 1 depth row column"],
        conditions: Float[Tensor, "batch width"],
    ) -> Float[Tensor, "batch depth row column"]:
        """One value for each voxel."""
        own, *others = self.weights(conditions)[..., None, None, None].split(1, dim=1)
        summed: Tensor = own * voxels
        for weight in others:
            voxels = functional.avg_pool3d(voxels, 3, 1, 1, count_include_pad=False)
            summed = summed + weight * voxels
        return summed[:, 0]
