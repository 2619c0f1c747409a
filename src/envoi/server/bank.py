"""A bank of synthetic images with the teachers' answers on them, made once and learned from.

Memory: `images x (2 channels height width + 4 classes)` bytes (half-precision pixels), whatever
the number of steps, and one teacher's activations.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from envoi.server.synthesis.moment_images import Drawn

Images = Float[Tensor, "batch channel height width"]
Logits = Float[Tensor, "batch class"]
_CHUNK = 256


@runtime_checkable
class Source(Protocol):
    """Where images come from."""

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """`count` images."""
        ...


@runtime_checkable
class Staged(Protocol):
    """A source that can show how its images come about."""

    def stages(self, count: int, generator: torch.Generator) -> list[tuple[str, Images]]:
        """How some images come about, for people."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """Images in half precision, and the teachers' logits on them (of the same rounded images)."""

    images: Float[Tensor, "image channel height width"]
    answers: Float[Tensor, "image class"]

    def batch(self, index: Int[Tensor, " batch"], device: torch.device) -> tuple[Images, Logits]:
        """Some images and answers, in full precision."""
        images = self.images[index].float().contiguous(memory_format=torch.channels_last)
        return images.to(device), self.answers[index].to(device)


def filled_bank(
    source: Source, teacher: nn.Module, count: int, generator: torch.Generator, device: torch.device
) -> Bank:
    """A bank of `count` images; equal generators fill it with the same."""
    images, answers = torch.empty(0), []
    for start in range(0, count, _CHUNK):
        made = source.draw(min(_CHUNK, count - start), generator).images.half()
        if not start:  # one allocation: chunks that are joined at the end would need two
            images = made.new_empty(count, *made.shape[1:])
        images[start : start + len(made)] = made
        with torch.no_grad():
            inputs = made.float().contiguous(memory_format=torch.channels_last)
            answers.append(teacher(inputs.to(device)).cpu())
    return Bank(images, torch.cat(answers))
