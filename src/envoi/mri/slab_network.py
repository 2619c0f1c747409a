"""The network of the joint model: a narrow 3D level for detail, a 2D U-Net for all else.

What removes noise from a voxel is the same in every slice. At the finest level a few channels of
3D convolutions therefore treat all slices of a slab alike; below it slices are channels of a 2D
U-Net, which sees the anatomy of the slab as a whole. Beside them the noisy voxels are smoothed. All
three are told the conditions.

Memory: `fine` times `thickness` maps at full size for the 3D level, and the U-Net's.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from envoi.mri.convolution import Conv3d
from envoi.mri.smoothing import Smoothing
from envoi.mri.unet import ResidualBlock, UNet, UNetPlan, run_block

Slab = Float[Tensor, "batch _ slice row column"]
# How often noisy voxels are smoothed: over 7 voxels along an axis in all.
_SMOOTHED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SlabPlan:
    """Shape of the network.

    Attributes:
        inputs: Channels of every voxel.
        thickness: Slices of a slab.
        fine: Channels of the 3D level; a multiple of 8.
        widths: Channels of the U-Net's levels.
        blocks: Residual blocks of each of its levels.
        embedding: Width of the vector of conditions.
    """

    inputs: int
    thickness: int
    fine: int
    widths: tuple[int, ...]
    blocks: int
    embedding: int = 128

    @property
    def factors(self) -> tuple[int, ...]:
        """Slices, rows and columns are multiples of these; slices are channels below."""
        return 1, *self.below.factors

    @property
    def below(self) -> UNetPlan:
        """Of the 2D U-Net."""
        maps = self.fine * self.thickness
        return UNetPlan(
            inputs=maps,
            outputs=maps,
            widths=self.widths,
            blocks=self.blocks,
            embedding=self.embedding,
        )


class SlabNetwork(nn.Module):
    """See the module; its last convolution starts at zero.

    Args:
        plan: Its shape.
        checkpointed: Compute blocks again in the backward pass in place of keeping their maps.
    """

    def __init__(self, plan: SlabPlan, *, checkpointed: bool = False) -> None:
        super().__init__()
        self.plan, fine = plan, plan.fine
        self._run = partial(run_block, checkpointed=checkpointed)
        block = partial(ResidualBlock, dimensions=3, embedding=plan.embedding)
        self.smoothing = Smoothing(plan.embedding, _SMOOTHED)
        self.enter = Conv3d(plan.inputs, fine, 3, padding=1)
        self.before = block(fine, fine)
        self.below = UNet(plan.below, checkpointed=checkpointed)
        self.after = block(fine, fine)
        self.leave = Conv3d(fine, 1, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(
        self, maps: Slab, conditions: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch slice row column"]:
        """One value for each voxel of the slab; the first channel is smoothed."""
        smooth: Tensor = self.smoothing(maps[:, :1], conditions)
        maps = self._run(self.before, self.enter(maps), conditions)
        # Channels stay last in memory, by one copy each way; another order costs more of them.
        slices = maps.permute(0, 3, 4, 1, 2).flatten(3).permute(0, 3, 1, 2)
        whole = self.below(slices, conditions).reshape(maps.shape)
        whole = whole.contiguous(memory_format=torch.channels_last_3d)
        maps = self._run(self.after, maps + whole, conditions)
        left: Tensor = self.leave(functional.silu(maps))[:, 0]
        return left + smooth
