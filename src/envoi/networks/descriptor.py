"""A fixed description of images that all sites compute alike, without training.

Two parts: the spectral features of `envoi.networks.spectrum`, and texture features from two
layers of random filters (as in random-feature classifiers, Coates and Ng 2012, doi
10.1007/978-3-642-35289-8_30): mean and root mean square of each filter's response. The filters
are drawn from a constant seed, so that a study's digest and the release of Envoi fix them.

It does not know any site's images. Because it is the same everywhere, moments of it may be
added over sites: what is learned from the sums is what pooled images would give.
"""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from envoi.networks.spectrum import Features, Images, Spectrum
from envoi.seeding import torch_generator

TEXTURE_FILTERS = (48, 48)
_FILTER_PX = 5
_LARGEST_PX = 56
_LEAST_SQUARE = 1e-6
_BATCH = 256


class Descriptor:
    """Features of normalised images of one kind.

    Args:
        channels: 1 or 3.
        size_px: Height and width. Texture is seen at 56 pixels at the most, by averaging.
    """

    def __init__(self, channels: int, size_px: int) -> None:
        self.spectrum = Spectrum(channels, size_px)
        self._size = min(size_px, _LARGEST_PX)
        draws = torch_generator(0, "descriptor", channels)
        widths = (channels, *TEXTURE_FILTERS)
        self._filters = [
            _filters(inputs, outputs, draws) for inputs, outputs in itertools.pairwise(widths)
        ]

    @property
    def dimension(self) -> int:
        """Number of features; the first `spectrum.dimension` are the spectral ones."""
        return self.spectrum.dimension + 2 * sum(TEXTURE_FILTERS)

    def __call__(self, images: Images) -> Features:
        """The features of each image; memory is that of 256 images at a time."""
        return torch.cat([self._describe(part) for part in torch.split(images, _BATCH)])

    def _describe(self, images: Images) -> Features:
        return torch.cat([self.spectrum.features(images), self._texture(images)], dim=1)

    def _texture(self, images: Images) -> Features:
        maps, parts = functional.adaptive_avg_pool2d(images, self._size), []
        for filters in self._filters:
            # Repeated edges: a border of zeros would look like an edge to every filter.
            padded = functional.pad(maps, (_FILTER_PX // 2,) * 4, mode="replicate")
            maps = functional.conv2d(padded, filters.to(images.device)).relu()
            parts.append(maps.mean(dim=(2, 3)))
            parts.append((maps.square().mean(dim=(2, 3)) + _LEAST_SQUARE).sqrt())
            maps = functional.max_pool2d(maps, 2, ceil_mode=True)
        return torch.cat(parts, dim=1)


def _filters(
    inputs: int, outputs: int, draws: torch.Generator
) -> Float[Tensor, "output input row column"]:
    """Random filters of sum zero and norm one: they answer to contrast, not to brightness."""
    filters = torch.randn(outputs, inputs, _FILTER_PX, _FILTER_PX, generator=draws)
    contrast = filters - filters.mean(dim=(1, 2, 3), keepdim=True)
    return functional.normalize(contrast.flatten(1)).reshape(filters.shape)
