"""Images by their frequencies: a coarse picture exactly, and how much detail there is.

An image is turned into opponent colours (for three channels) and cosine coefficients. The
lowest ones, which are a picture as coarse as nine by nine pixels, are kept as they are; of the rest
only the logarithm of the mean energy in a few rings of frequency. Both together are the
*spectral features*; `compose` makes images that have given ones.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Images = Float[Tensor, "batch channel height width"]
Features = Float[Tensor, "batch feature"]

LUMINANCE_RADIUS = 9
COLOUR_RADIUS = 6
BANDS = 4
_LEAST_ENERGY = 1e-6
# Rows: luminance, red against blue, green against both; orthonormal once divided by their norms.
_OPPONENT = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """One colour plane: which coefficients are kept, and which make up each ring."""

    low: Bool[Tensor, "row column"]
    bands: tuple[Bool[Tensor, "row column"], ...]

    @property
    def dimension(self) -> int:
        return int(self.low.sum()) + len(self.bands)


class Spectrum:
    """The spectral features of images of one kind.

    Args:
        channels: 1 or 3.
        size_px: Height and width.
    """

    def __init__(self, channels: int, size_px: int) -> None:
        colours = torch.tensor(_OPPONENT if channels == 3 else ((1.0,),))
        self._colours = colours / colours.norm(dim=1, keepdim=True)
        self._cosines = cosine_matrix(size_px)
        radii = (LUMINANCE_RADIUS, *[COLOUR_RADIUS] * (channels - 1))
        self._planes = tuple(_plane(size_px, radius) for radius in radii)

    @property
    def dimension(self) -> int:
        """Number of spectral features."""
        return sum(plane.dimension for plane in self._planes)

    def features(self, images: Images) -> Features:
        """Kept coefficients and logarithms of ring energies, plane after plane."""
        coefficients = self._coefficients(images)
        parts = []
        for number, plane in enumerate(self._planes):
            values = coefficients[:, number]
            parts.append(values[:, plane.low])
            parts += [_log_energy(values, band)[:, None] for band in plane.bands]
        return torch.cat(parts, dim=1)

    def compose(self, features: Features, details: Images) -> Images:
        """Images with these features, their detail taken from `details`.

        Each ring of the detail's coefficients is scaled to the wanted energy, so that edges and
        textures keep their shape (their phases) and get the right strength.

        Args:
            features: As `features` gives them.
            details: As many images, of any content.
        """
        given = self._coefficients(details)
        made = torch.zeros_like(given)
        for number, (plane, own) in enumerate(
            zip(self._planes, self._split(features), strict=True)
        ):
            count = own.shape[1] - len(plane.bands)
            made[:, number][:, plane.low] = own[:, :count]
            for band, wanted in zip(plane.bands, own[:, count:].T, strict=True):
                gain = ((wanted - _log_energy(given[:, number], band)) / 2).exp()
                made[:, number][:, band] = given[:, number][:, band] * gain[:, None]
        return self._images(made)

    def colours(self, features: Features) -> Float[Tensor, "batch channel"]:
        """The mean colour of each image."""
        first = [part[:, 0] for part in self._split(features)]
        planes = torch.stack(first, dim=1) / len(self._cosines)
        colours: Tensor = planes @ self._colours.to(planes)
        return colours

    def colour_covariance(
        self, covariance: Float[Tensor, "feature feature"]
    ) -> Float[Tensor, "channel channel"]:
        """Of pixels around the mean image, for a covariance of features (detail left out)."""
        sizes = [plane.dimension for plane in self._planes]
        starts = [sum(sizes[:number]) for number in range(len(sizes))]
        shared = self._planes[-1].low  # the smallest mask, contained in all others
        index = torch.stack(
            [
                start + torch.arange(int(plane.low.sum()))[shared[plane.low]]
                for start, plane in zip(starts, self._planes, strict=True)
            ]
        )
        blocks = covariance[index[:, None, :], index[None, :, :]].sum(dim=-1)
        planes = blocks / len(self._cosines) ** 2
        colours = self._colours.to(planes)
        turned: Tensor = colours.T @ planes @ colours
        return turned

    def _split(self, features: Features) -> tuple[Tensor, ...]:
        return torch.split(features, [plane.dimension for plane in self._planes], dim=1)

    def _coefficients(self, images: Images) -> Images:
        colours, cosines = self._colours.to(images.device), self._cosines.to(images.device)
        planes = torch.einsum("pc,bchw->bphw", colours, images)
        return cosines @ planes @ cosines.T

    def _images(self, coefficients: Images) -> Images:
        colours = self._colours.to(coefficients.device)
        cosines = self._cosines.to(coefficients.device)
        return torch.einsum("pc,bphw->bchw", colours, cosines.T @ coefficients @ cosines)


def cosine_matrix(size: int) -> Float[Tensor, "size size"]:
    """The orthonormal discrete cosine transform (type II) of `size` values, as a matrix."""
    # In double precision: the angles reach hundreds of turns, which fp32 knows too coarsely.
    order = torch.arange(size, dtype=torch.float64)[:, None]
    place = torch.arange(size, dtype=torch.float64)[None] + 0.5
    matrix = torch.cos(math.pi * order * place / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def _plane(size: int, radius: int) -> _Plane:
    order = torch.arange(size, dtype=torch.float32)
    distance = (order[:, None].square() + order[None].square()).sqrt()
    # The last ring ends beyond the corner of the square of coefficients.
    edges = torch.logspace(math.log10(radius), math.log10(2 * size), BANDS + 1)
    edges[0], edges[-1] = radius, 2 * size
    rings = [(distance >= inner) & (distance < outer) for inner, outer in itertools.pairwise(edges)]
    return _Plane(distance < radius, tuple(ring for ring in rings if bool(ring.any())))


def _log_energy(values: Tensor, band: Tensor) -> Float[Tensor, " batch"]:
    return (values[:, band].square().mean(dim=1) + _LEAST_ENERGY).log()
