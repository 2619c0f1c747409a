"""The field of view: the smallest box in which anybody of a population has a brain.

About half of a scan's voxels lie outside it, where there is nothing to learn and nothing to draw.
"""

from collections.abc import Iterable, Sequence
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Intensity of what is no brain.
BACKGROUND = -1.0

Volume = Float[Tensor, "depth height width"]


class Field(nn.Module):
    """A box of voxels; all of them until it has learned. Part of a model's state.

    Args:
        shape: Of whole volumes.
        least: Voxels that it has along each axis, at least.
        multiple: Its sides are multiples of this, where volumes are large enough.

    Attributes:
        box: Of each axis the first voxel, and the one after the last.
    """

    def __init__(self, shape: Sequence[int], *, least: int, multiple: int) -> None:
        super().__init__()
        self.shape, self.least, self.multiple = tuple(shape), least, multiple
        self.box = [(0, length) for length in shape]

    @property
    def sides(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(last - first for first, last in self.box)

    def learn(self, volumes: Iterable[Volume]) -> None:
        """Take the box of volumes, one after the other; they count mirrored left to right too."""
        brain = torch.zeros(self.shape, dtype=torch.bool)
        for volume in volumes:
            brain |= (volume > BACKGROUND).cpu()
        brain |= brain.flip(-1)
        axes = range(brain.ndim)
        extents = [brain.amax([other for other in axes if other != axis]) for axis in axes]
        self.box = [self._side(extent) for extent in extents]

    def of(self, volumes: Float[Tensor, "... depth height width"]) -> Tensor:
        """The part of whole volumes that lies in it."""
        depth, height, width = (slice(*side) for side in self.box)
        return volumes[..., depth, height, width]

    def around(self, part: Float[Tensor, "_ _ _"]) -> Volume:
        """A whole volume: the part, and background around it."""
        if part.numel() == prod(self.shape):
            return part
        whole = part.new_full(self.shape, BACKGROUND)
        self.of(whole).copy_(part)
        return whole

    def get_extra_state(self) -> Tensor:
        """The box, for a model's file."""
        return torch.tensor(self.box)

    def set_extra_state(self, state: Tensor) -> None:
        """The box of a file.

        Raises:
            ValueError: It is no box within the volume.
        """
        sides = state.tolist()
        if state.shape != (len(self.shape), 2) or not all(
            0 <= first < last <= length
            for (first, last), length in zip(sides, self.shape, strict=True)
        ):
            raise ValueError("no box within the volume")
        self.box = [(first, last) for first, last in sides]

    def _side(self, extent: Tensor) -> tuple[int, int]:
        """From the first brain to the last, widened on both sides as far as is asked for."""
        places = extent.nonzero()[:, 0].tolist() or [0, len(extent) - 1]
        first, last = places[0], places[-1] + 1
        wanted = max(last - first, self.least)
        wanted = min(-(-wanted // self.multiple) * self.multiple, len(extent))
        first = min(max(first - (wanted - (last - first)) // 2, 0), len(extent) - wanted)
        return first, first + wanted
