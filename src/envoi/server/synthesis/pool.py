"""A pool of synthetic images with their classes, bounded.

Images are kept as 8-bit pixels, as DENSE's released code keeps them on disk: a quarter of the
memory. Memory: batches x batch size x (channels x height x width + 8) bytes, on the CPU; a full
pool forgets its oldest batch.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from envoi.checkpoint import State
from envoi.transforms import denormalise, normalise
from envoi.types import ImageSpec

Images = Float[Tensor, "batch channel height width"]
Targets = Int[Tensor, " batch"]


class Pool:
    """The latest batches of images.

    Args:
        image: What the images look like.
        batches: How many of them are kept.
        batch_size: Images of each.
    """

    def __init__(self, image: ImageSpec, *, batches: int, batch_size: int) -> None:
        # Pixels are stored in 0..255 whatever range the study's own files have.
        self._image = replace(image, value_range=(0.0, 255.0))
        size = (batches * batch_size, image.channels, image.size_px, image.size_px)
        self._pixels = torch.empty(size, dtype=torch.uint8)
        self._targets = torch.empty(len(self._pixels), dtype=torch.int64)
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, len(self._pixels))

    def add(self, images: Images, targets: Targets) -> None:
        """Keep one batch, in the place of the oldest one if there is no other."""
        start = self._added % len(self._pixels)
        place = slice(start, start + len(images))
        self._pixels[place] = denormalise(images, self._image)
        self._targets[place] = targets.cpu()
        self._added += len(images)

    def draw(self, number: int, generator: torch.Generator) -> tuple[Images, Targets]:
        """Different images of the pool, on the CPU."""
        chosen = torch.randperm(len(self), generator=generator)[:number]
        return normalise(self._pixels[chosen], self._image), self._targets[chosen]

    def state(self) -> State:
        """For a checkpoint."""
        count, added = len(self), torch.tensor(self._added)
        return {"pixels": self._pixels[:count], "targets": self._targets[:count], "added": added}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        self._added = int(state["added"])
        self._pixels[: len(self)] = state["pixels"]
        self._targets[: len(self)] = state["targets"]
