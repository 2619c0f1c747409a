"""3D convolution that stays fast on CPUs for single items.

A single item of no more than 20480 (channels x depth x rows) PyTorch convolves on the CPU by
unfolding it, which takes 27 times its memory and five times longer than oneDNN, to which it gives
batches. Two overlapping halves of the item are such a batch.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

# Channels and, with strides, sizes change on the way.
Maps = Float[Tensor, "batch _ _ _ _"]
_UNFOLDED = 20480


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` with its weights and, within rounding, its results."""

    def forward(self, input: Maps) -> Maps:  # noqa: A002  (the name in PyTorch)
        """See the module."""
        if not self._is_in_halves(input):
            return super().forward(input)
        pad, *others = map(int, self.padding)
        halves = _halves(functional.pad(input, (0, 0, 0, 0, pad, pad)), self.kernel_size[0] - 1)
        first, second = functional.conv3d(halves, self.weight, self.bias, padding=(0, *others))
        common = 2 * first.shape[1] - input.shape[2]
        return torch.cat([first, second[:, common:]], dim=1)[None]

    def _is_in_halves(self, maps: Maps) -> bool:
        """Whether PyTorch would unfold, and halves give the same: stride 1, sizes kept."""
        single = len(maps) == 1 and maps.device.type == "cpu" and maps.shape[2] > 1
        kept = set(self.stride) == {1} and self.padding[0] == self.kernel_size[0] // 2
        return single and kept and self.kernel_size[0] > 1 and maps[..., 0].numel() <= _UNFOLDED


def _halves(
    padded: Float[Tensor, "1 channel _ row column"], beyond: int
) -> Float[Tensor, "2 channel _ row column"]:
    """Both halves of an item, each with the `beyond` slices more that its results need."""
    depth = (padded.shape[2] - beyond + 1) // 2 + beyond
    return torch.cat([padded[:, :, :depth], padded[:, :, -depth:]])
