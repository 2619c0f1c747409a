"""The image generator of DAFL and DENSE: from latent vectors to normalised images.

Shaped after DCGAN (arXiv:1511.06434) as DAFL (arXiv:1904.01186) and DENSE (arXiv:2112.12371) use
it: a linear map to a small feature map, then nearest upsampling, convolution, batch norm and
LeakyReLU, twice, and a last convolution. Where it departs:

- any image size: each upsampling goes to an explicit size, half of the next one rounded up, so
  that 28, 30 and 224 pixels all end exact;
- images above 64 pixels get one more upsampling for each doubling. Two of them at 224 pixels
  would leave a 56-pixel map, and a linear map of 100 million weights before it.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from envoi.networks.classifier import convolution
from envoi.types import ImageSpec

LATENT = 256
_LARGEST_MAP_PX = 16


class ImageGenerator(nn.Module):
    """Latents `(batch, 256)` to normalised images; its batch norm always reads the batch.

    Args:
        image: Channels, size and normalisation of the images.
        width: Channels of the last feature map; the others have twice as many.
    """

    def __init__(self, image: ImageSpec, *, width: int = 64) -> None:
        super().__init__()
        self.image = image
        self.sizes_px = map_sizes_px(image.size_px)
        widths = [2 * width] * (len(self.sizes_px) - 1) + [width]
        self.project = nn.Linear(LATENT, widths[0] * self.sizes_px[0] ** 2)
        self.entry = nn.BatchNorm2d(widths[0])
        self.blocks = nn.ModuleList(_block(a, b) for a, b in pairwise(widths))
        self.exit = nn.Conv2d(width, image.channels, 3, padding=1)

    def forward(
        self, latents: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Images whose pixels lie within the study's range: a sigmoid, then its normalisation."""
        small = self.sizes_px[0]
        maps = self.entry(self.project(latents).unflatten(1, (-1, small, small)))
        for block, size in zip(self.blocks, self.sizes_px[1:], strict=True):
            maps = block(functional.interpolate(maps, size=size, mode="nearest"))
        pixels = torch.sigmoid(self.exit(maps))
        mean, deviation = latents.new_tensor([self.image.mean, self.image.deviation])
        images: Tensor = (pixels - mean[:, None, None]) / deviation[:, None, None]
        return images


def image_generator(image: ImageSpec, generator: torch.Generator) -> ImageGenerator:
    """A fresh generator; its weights are a function of the arguments alone.

    Args:
        image: What it makes.
        generator: Draws the weights: N(0, 0.02), batch-norm scales N(1, 0.02), as in DCGAN.
    """
    with torch.device("meta"):
        network = ImageGenerator(image)
    network = network.to_empty(device="cpu")
    with torch.no_grad():
        for module in network.modules():
            _reset(module, generator)
    return network.train()


def map_sizes_px(size_px: int) -> tuple[int, ...]:
    """Sizes from the smallest feature map to the image, each half of the next, rounded up.

    At least two steps (a quarter of the image), and as many as lead to at most 16 pixels.
    """
    sizes = [size_px]
    while len(sizes) < 3 or sizes[0] > _LARGEST_MAP_PX:
        sizes.insert(0, -(-sizes[0] // 2))
    return tuple(sizes)


def _block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        convolution(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)
    )


def _reset(module: nn.Module, generator: torch.Generator) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()
        nn.init.normal_(module.weight, 1.0, 0.02, generator=generator)
