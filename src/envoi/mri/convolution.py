"""3D convolution that is fast on CPUs.

Two habits of PyTorch there, measured at 8 channels of 16x48x48: a single item of no more than
20480 (channels x depth x rows) it convolves by unfolding it, which takes 27 times its memory and
five times longer than oneDNN, to which it gives batches; two overlapping halves of the item are
such a batch. And oneDNN's backward pass takes a quarter of the time with channels last.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

# Channels and, with strides, sizes change on the way.
Maps = Float[Tensor, "batch _ _ _ _"]
_UNFOLDED = 20480


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` with its weights and, within rounding, its results; on CPUs channels are last."""

    def forward(self, input: Maps) -> Maps:  # noqa: A002  (the name in PyTorch)
        """See the module."""
        if input.device.type != "cpu":
            return super().forward(input)
        weight = self.weight.contiguous(memory_format=torch.channels_last_3d)
        maps = input.contiguous(memory_format=torch.channels_last_3d)
        if not self._is_in_halves(maps):
            whole: Tensor = self._conv_forward(maps, weight, self.bias)
            return whole
        pad, *others = map(int, self.padding)
        halves = _halves(functional.pad(maps, (0, 0, 0, 0, pad, pad)), self.kernel_size[0] - 1)
        first, second = functional.conv3d(halves, weight, self.bias, padding=(0, *others))
        common = 2 * first.shape[1] - maps.shape[2]
        return torch.cat([first, second[:, common:]], dim=1)[None]

    def _is_in_halves(self, maps: Maps) -> bool:
        """Whether PyTorch would unfold, and halves give the same."""
        plain = self.groups == 1 and self.padding_mode == "zeros"
        plain = plain and {*self.stride, *self.dilation} == {1}
        depth = self.kernel_size[0]
        kept = depth > 1 and depth % 2 == 1 and self.padding[0] == depth // 2
        single = len(maps) == 1 and maps.shape[2] > 1
        return plain and kept and single and maps[..., 0].numel() <= _UNFOLDED


def _halves(
    padded: Float[Tensor, "1 channel _ row column"], beyond: int
) -> Float[Tensor, "2 channel _ row column"]:
    """Both halves of an item, each with the `beyond` slices more that its results need."""
    depth = (padded.shape[2] - beyond + 1) // 2 + beyond
    return torch.cat([padded[:, :, :depth], padded[:, :, -depth:]])
