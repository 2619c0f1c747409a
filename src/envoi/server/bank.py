"""A bank of synthetic images with the teachers' answers on them, made once and learned from.

Memory: `images x (2 channels height width + 4 classes)` bytes (half-precision pixels), whatever
the number of steps, and one teacher's activations. Images are drawn before anybody answers, so
that a teacher of many networks can ask one after another (`Streaming`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from envoi.precision import computing
from envoi.processes import Processes
from envoi.server.synthesis.moment_images import Drawn
from envoi.settings import Precision

Images = Float[Tensor, "batch channel height width"]
Logits = Float[Tensor, "batch class"]
CHUNK = 256
ALONE = Processes()


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


def stages_of(source: Source, count: int, generator: torch.Generator) -> list[tuple[str, Images]]:
    """How some of a source's images come about; of one that does not say, the images alone."""
    if isinstance(source, Staged):
        return source.stages(count, generator)
    return [("images as they are drawn", source.draw(count, generator).images)]


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

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Int[Tensor, " batch"], device: torch.device) -> tuple[Images, Logits]:
        """Some images and answers, in full precision."""
        images = self.images[index].float().contiguous(memory_format=torch.channels_last)
        return images.to(device), self.answers[index].to(device)


@dataclass(frozen=True, slots=True, eq=False)
class _Batches:
    """Images in full precision, some at a time, as often as asked for."""

    parts: Sequence[Tensor]
    device: torch.device

    def __iter__(self) -> Iterator[Images]:
        for images in self.parts:
            inputs = images.float().contiguous(memory_format=torch.channels_last)
            yield inputs.to(self.device)


def filled_bank(
    source: Source,
    teacher: nn.Module,
    count: int,
    generator: torch.Generator,
    device: torch.device,
    *,
    precision: Precision = "fp32",
    processes: Processes = ALONE,
) -> Bank:
    """A bank of `count` images; equal generators fill it with the same.

    Args:
        source: Draws the images.
        teacher: Answers on them.
        count: Number of images.
        generator: Of the draws.
        device: Where the teacher is.
        precision: Of its networks.
        processes: All draw the same images, and each asks the teacher about its share of them.
    """
    images = _drawn(source, count, generator)
    own = processes.share(torch.split(torch.arange(count), CHUNK))
    batches = _Batches(processes.share(torch.split(images, CHUNK)), device)
    with torch.no_grad(), computing(precision, device):
        told = _answers(teacher, batches).float()
    answers = told.new_zeros(count, told.shape[1])
    answers[torch.cat(list(own)).to(device)] = told
    return Bank(images, processes.summed(answers).cpu())


def _drawn(source: Source, count: int, generator: torch.Generator) -> Images:
    images = torch.empty(0)
    for start in range(0, count, CHUNK):
        made = source.draw(min(CHUNK, count - start), generator).images.half()
        if not start:  # one allocation: chunks that are joined at the end would need two
            images = made.new_empty(count, *made.shape[1:])
        images[start : start + len(made)] = made
    return images


def _answers(teacher: nn.Module, batches: Iterable[Images]) -> Logits:
    if isinstance(teacher, Streaming):
        return teacher.over(batches)
    return torch.cat([teacher(images) for images in batches])
