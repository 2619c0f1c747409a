"""A bank of synthetic images with the teachers' answers on them, made once and learned from.

Memory: `images x (2 channels height width + 4 classes)` bytes (half-precision pixels), whatever
the number of steps, and one teacher's activations. Images are drawn before anybody answers, so
that a teacher of many networks can ask one after another (`Streaming`).
"""

from collections.abc import Iterable, Iterator
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


@runtime_checkable
class Streaming(Protocol):
    """A teacher that goes over many batches once for each of its networks."""

    def over(self, batches: Iterable[Images]) -> Logits:
        """Logits of all batches, which can be iterated over again and again."""
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


@dataclass(frozen=True, slots=True, eq=False)
class _Batches:
    """The images of a bank in full precision, some at a time, as often as asked for."""

    images: Images
    device: torch.device

    def __iter__(self) -> Iterator[Images]:
        for images in torch.split(self.images, _CHUNK):
            inputs = images.float().contiguous(memory_format=torch.channels_last)
            yield inputs.to(self.device)


def filled_bank(
    source: Source, teacher: nn.Module, count: int, generator: torch.Generator, device: torch.device
) -> Bank:
    """A bank of `count` images; equal generators fill it with the same."""
    images = _drawn(source, count, generator)
    return Bank(images, _answers(teacher, _Batches(images, device)).cpu())


def _drawn(source: Source, count: int, generator: torch.Generator) -> Images:
    images = torch.empty(0)
    for start in range(0, count, _CHUNK):
        made = source.draw(min(_CHUNK, count - start), generator).images.half()
        if not start:  # one allocation: chunks that are joined at the end would need two
            images = made.new_empty(count, *made.shape[1:])
        images[start : start + len(made)] = made
    return images


def _answers(teacher: nn.Module, batches: Iterable[Images]) -> Logits:
    with torch.no_grad():
        if isinstance(teacher, Streaming):
            return teacher.over(batches)
        return torch.cat([teacher(images) for images in batches])
