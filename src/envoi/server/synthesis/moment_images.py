"""Images that have the moments of the sites' images.

For each image a site and a class are drawn, then the spectral features from that site's Gaussian
(its class mean, its covariance), and an image is composed that has them: the coarse picture and
the strength of detail come from the moments, edges and grain from a procedural image. No
gradient, no network: the cost is that of a few cosine transforms.

What an image is *of* is not settled here: teachers answer on it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from envoi.networks.spectrum import Spectrum
from envoi.server.pooled import site_covariances
from envoi.server.synthesis.palette import Palette, palette_of
from envoi.server.synthesis.procedural import procedural
from envoi.server.teacher import Counts, Teachers
from envoi.transforms import clamped

Images = Float[Tensor, "batch channel height width"]
# Classes are drawn by their pooled counts to this power: rare classes more often than they are.
CLASS_POWER = 0.5
_RIDGE = 1e-5
# Deviation of the grain under all details. Smooth procedural images have next to no energy in
# the outer rings, and nothing cannot be scaled to what is wanted.
_GRAIN = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Images, each with the site and the class whose moments it was drawn from."""

    images: Images
    sites: Int[Tensor, " batch"]
    classes: Int[Tensor, " batch"]


class MomentImages:
    """A source of such images.

    Args:
        teachers: All with moments.
        class_power: Of the counts, when classes are drawn.

    Raises:
        MethodError: A site sent no moments, or no site tells of any class.
    """

    def __init__(self, teachers: Teachers, *, class_power: float = CLASS_POWER) -> None:
        moments, counts = teachers.moments_for("images from moments"), teachers.class_counts.cpu()
        self._spectrum = Spectrum(teachers.image.channels, teachers.image.size_px)
        self._palette: Palette = palette_of(teachers)
        self._image = teachers.image
        self._pairs = pair_shares(counts, class_power)
        spectral = self._spectrum.dimension
        self._means = torch.stack([site.means[:, :spectral] for site in moments])
        covariances = site_covariances(moments, counts.sum(dim=1))
        self._factors = torch.stack(
            [_factor(covariance[:spectral, :spectral]) for covariance in covariances]
        )

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """`count` images, within the range of pixel values."""
        sites, classes, features, details = self._parts(count, generator)
        images = self._spectrum.compose(features, details)
        return Drawn(clamped(images, self._image), sites, classes)

    def stages(self, count: int, generator: torch.Generator) -> list[tuple[str, Images]]:
        """How some images come about, for people: each stage with what it shows."""
        _, _, features, details = self._parts(count, generator)
        both = self._spectrum.compose(features, details)
        coarse = self._spectrum.compose(features, torch.zeros_like(details))
        return [
            ("procedural images, which lend their detail", clamped(details, self._image)),
            ("coarse pictures drawn from the sites' moments", clamped(coarse, self._image)),
            ("both together", clamped(both, self._image)),
        ]

    def _parts(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sites, classes, spectral features and procedural detail of `count` images."""
        classes_of_site = self._pairs.shape[1]
        pairs = torch.multinomial(
            self._pairs.flatten(), count, replacement=True, generator=generator
        )
        sites, classes = pairs // classes_of_site, pairs % classes_of_site
        noise = torch.randn(count, self._factors.shape[-1], generator=generator)
        turned = torch.einsum("bfg,bg->bf", self._factors[sites], noise)
        features = self._means[sites, classes] + turned
        details = procedural(count, self._image.size_px, self._palette, generator)
        grain = _GRAIN * torch.randn(details.shape, generator=generator)
        return sites, classes, features, details + grain


class ProceduralImages:
    """Procedural images in the sites' colours: the control, and what sites without moments get."""

    def __init__(self, teachers: Teachers) -> None:
        self._palette = palette_of(teachers)
        self._image = teachers.image

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """`count` images; they belong to no site and no class (-1)."""
        images = procedural(count, self._image.size_px, self._palette, generator)
        nobody = torch.full((count,), -1)
        return Drawn(clamped(images, self._image), nobody, nobody)

    def stages(self, count: int, generator: torch.Generator) -> list[tuple[str, Images]]:
        """The images, as the only stage there is."""
        return [("procedural images in the sites' colours", self.draw(count, generator).images)]


def pair_shares(counts: Counts, power: float) -> Float[Tensor, "site class"]:
    """How often each site's class is drawn: N(c)^power in all, shared by the sites' counts."""
    totals = counts.sum(dim=0)
    wanted = torch.where(totals > 0, totals.clamp_min(1) ** power, 0.0)
    shares = counts / totals.clamp_min(1) * wanted
    return shares / shares.sum().clamp_min(1e-12)


def _factor(covariance: Tensor) -> Float[Tensor, "feature feature"]:
    """A matrix whose product with its transpose is the covariance (and a small ridge)."""
    scale = covariance.diagonal().clamp_min(1e-12).sqrt()
    correlations = covariance / scale[:, None] / scale
    values, vectors = torch.linalg.eigh(correlations)
    root: Tensor = scale[:, None] * vectors * values.clamp_min(_RIDGE).sqrt()
    return root.float()
