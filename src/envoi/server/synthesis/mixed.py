"""A source whose images are mixed with one another and made noisy, before teachers answer.

The student then learns the teacher as a function between its images and beside them, and not
at these images alone: mixup (arXiv:1710.09412; of distillation arXiv:2106.05237), and noise with
a structure, coarse or fine, as DENSE's follow-up for medical images keeps in its bank
(doi 10.1016/j.media.2025.103714).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from envoi.server.bank import Images, Source, stages_of
from envoi.server.synthesis.moment_images import Drawn
from envoi.transforms import clamped
from envoi.types import ImageSpec

# Deviation of the noise, at most, in units of the images' own.
_STRONGEST = 1.0


@dataclass(frozen=True, slots=True)
class Mixed:
    """See the module.

    Attributes:
        source: Of the images.
        image: What they are like.
        mixup: Share of images that are mixed, each with another one of its batch.
        noise: Share of images that are made noisy.
    """

    source: Source
    image: ImageSpec
    mixup: float = 0.0
    noise: float = 0.0

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """`count` images; those that are mixed keep the site and class of their larger part."""
        drawn = self.source.draw(count, generator)
        return Drawn(self._changed(drawn.images, generator), drawn.sites, drawn.classes)

    def stages(self, count: int, generator: torch.Generator) -> list[tuple[str, Images]]:
        """How some images come about, for people."""
        before = stages_of(self.source, count, generator)
        _, images = before[-1]
        return [*before, ("some mixed or made noisy", self._changed(images, generator))]

    def _changed(self, drawn: Images, generator: torch.Generator) -> Images:
        count = len(drawn)
        weights = 1 - 0.5 * torch.rand(count, generator=generator)
        chosen = torch.rand(count, generator=generator) < self.mixup
        weights = torch.where(chosen, weights, 1.0)[:, None, None, None]
        others = torch.randperm(count, generator=generator)
        images = weights * drawn + (1 - weights) * drawn[others]
        strengths = _STRONGEST * torch.rand(count, generator=generator)
        chosen = torch.rand(count, generator=generator) < self.noise
        strengths = torch.where(chosen, strengths, 0.0)[:, None, None, None]
        scale = images.std(dim=(2, 3), keepdim=True)
        images = images + strengths * scale * structured_noise(images.shape, generator)
        return clamped(images, self.image)


def structured_noise(
    shape: torch.Size, generator: torch.Generator
) -> Float[Tensor, "batch channel height width"]:
    """Noise of deviation one, of each image as coarse as chance has it.

    Args:
        shape: Of the images; half of the noise is common to their channels.
        generator: Source of all randomness.
    """
    count, channels, height, width = shape
    noise = torch.empty(shape)
    cells = 2 ** torch.randint(
        1, max(2, min(height, width).bit_length()), (count,), generator=generator
    )
    for size in sorted(set(cells.tolist())):
        chosen = cells == size
        cell = torch.randn(int(chosen.sum()), channels + 1, size, size, generator=generator)
        mixed = (cell[:, :1] + cell[:, 1:]) / 2**0.5
        fine = functional.interpolate(mixed, size=(height, width), mode="bilinear")
        noise[chosen] = fine / fine.std(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return noise
