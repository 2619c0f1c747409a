"""A U-Net for images, in the form of ADM (arXiv:2105.05233).

Residual blocks whose group norms are scaled and shifted by the conditions, strided convolutions
down, nearest neighbours up, attention at the coarsest level.

Memory: the maps that live at once are about `2 x blocks + 3` of `widths[0]` channels at full size
for inference; training keeps every block's inputs unless `checkpointed`.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from envoi.mri.convolution import Conv3d

# Channels and sizes change on the way.
Maps = Float[Tensor, "batch _ ..."]
Vector = Float[Tensor, "batch width"]
_GROUPS = 8
_HEAD_WIDTH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetPlan:
    """Shape of a U-Net.

    Attributes:
        inputs: Channels in.
        outputs: Channels out.
        widths: Channels of each level, the finest first; multiples of 8.
        blocks: Residual blocks of a level on the way down (and on the way up).
        embedding: Width of the vector of conditions.
    """

    inputs: int
    outputs: int
    widths: tuple[int, ...]
    blocks: int = 1
    embedding: int = 128

    @property
    def factors(self) -> tuple[int, ...]:
        """Sizes of inputs are multiples of these, one for each axis."""
        return (2 ** (len(self.widths) - 1),) * 2


class UNet(nn.Module):
    """See the module; its last convolution starts at zero.

    Args:
        plan: Its shape.
        checkpointed: Compute blocks again in the backward pass in place of keeping their maps.
    """

    def __init__(self, plan: UNetPlan, *, checkpointed: bool = False) -> None:
        super().__init__()
        self.plan = plan
        self._run = partial(run_block, checkpointed=checkpointed)
        widths = plan.widths
        levels = len(widths)
        block = partial(ResidualBlock, dimensions=2, embedding=plan.embedding)
        self.enter = nn.Conv2d(plan.inputs, widths[0], 3, padding=1)
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            self.down.extend(block(width, width) for _ in range(plan.blocks))
            if level + 1 < levels:
                self.shrink.append(nn.Conv2d(width, widths[level + 1], 3, stride=2, padding=1))
        self.middle = nn.ModuleList([block(widths[-1], widths[-1])])
        self.attend = Attention(widths[-1])
        self.middle.append(block(widths[-1], widths[-1]))
        for level in reversed(range(levels)):
            width = widths[level]
            self.up.extend(block(2 * width, width) for _ in range(plan.blocks))
            if level:
                self.grow.append(nn.Conv2d(width, widths[level - 1], 3, padding=1))
        self.leave = nn.Sequential(
            nn.GroupNorm(_GROUPS, widths[0]),
            nn.SiLU(),
            nn.Conv2d(widths[0], plan.outputs, 3, padding=1),
        )
        for parameter in self.leave[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, maps: Maps, conditions: Vector) -> Maps:
        """As many maps as `outputs`, of the inputs' size."""
        maps, kept = self.enter(maps), []
        for number, block in enumerate(self.down, 1):
            maps = self._run(block, maps, conditions)
            kept.append(maps)
            if number % self.plan.blocks == 0 and number < len(self.down):
                maps = self.shrink[number // self.plan.blocks - 1](maps)
        maps = self._run(self.middle[0], maps, conditions)
        maps = self._run(self.middle[1], self.attend(maps), conditions)
        for number, block in enumerate(self.up, 1):
            maps = self._run(block, torch.cat([maps, kept.pop()], dim=1), conditions)
            if number % self.plan.blocks == 0 and number < len(self.up):
                larger = functional.interpolate(maps, scale_factor=2.0)
                maps = self.grow[number // self.plan.blocks - 1](larger)
        left: Tensor = self.leave(maps)
        return left


class ResidualBlock(nn.Module):
    """Two convolutions; the second's norm is scaled and shifted by the conditions."""

    def __init__(self, inputs: int, outputs: int, *, dimensions: int, embedding: int) -> None:
        super().__init__()
        convolution = nn.Conv2d if dimensions == 2 else Conv3d
        self.first_norm = nn.GroupNorm(_GROUPS, inputs)
        self.first = convolution(inputs, outputs, 3, padding=1)
        self.second_norm = nn.GroupNorm(_GROUPS, outputs, affine=False)
        self.second = convolution(outputs, outputs, 3, padding=1)
        self.told = nn.Linear(embedding, 2 * outputs)
        self.skip = nn.Identity() if inputs == outputs else convolution(inputs, outputs, 1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, maps: Maps, conditions: Vector) -> Maps:
        """The maps, and what the block adds to them."""
        scale, shift = self.told(conditions).chunk(2, dim=1)
        axes = [1] * (maps.ndim - 2)
        scale, shift = scale.reshape(*scale.shape, *axes), shift.reshape(*shift.shape, *axes)
        inner = self.first(functional.silu(self.first_norm(maps)))
        inner = functional.silu(self.second_norm(inner) * (1 + scale) + shift)
        added: Tensor = self.second(inner) + self.skip(maps)
        return added


class Attention(nn.Module):
    """Every place attends to all places of its item."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // _HEAD_WIDTH)
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(self, maps: Maps) -> Maps:
        """The maps, and what the places tell one another."""
        places = self.norm(maps).flatten(2).transpose(1, 2)
        parts = self.ask(places).reshape(*places.shape[:2], 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        told = self.answer(mixed.transpose(1, 2).flatten(2))
        heard: Tensor = told.transpose(1, 2).reshape(maps.shape)
        return maps + heard


def run_block(block: nn.Module, maps: Maps, conditions: Vector, *, checkpointed: bool) -> Maps:
    """What a block makes of maps; `checkpointed`, its own are computed again when gradients are."""
    if checkpointed and torch.is_grad_enabled():
        again: Tensor = checkpoint(block, maps, conditions, use_reentrant=False)
        return again
    once: Tensor = block(maps, conditions)
    return once
