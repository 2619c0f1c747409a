"""The colours of the sites' images, as far as their submissions tell."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.networks.classifier import batch_norm_layers
from envoi.networks.spectrum import Spectrum
from envoi.server.pooled import PooledMoments, pooled_moments
from envoi.server.teacher import Teachers

# A deviation of normalised pixels for sites that tell of no moments: that of most medical sets.
_DEVIATION = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """Colours are `mean + spread @ noise`, in normalised pixel values."""

    mean: Float[Tensor, " channel"]
    spread: Float[Tensor, "channel channel"]

    @property
    def strength(self) -> float:
        """Root mean square of the deviations of a channel."""
        return float(self.spread.square().sum(dim=1).mean().sqrt())

    def draw(
        self, shape: tuple[int, ...], generator: torch.Generator
    ) -> Float[Tensor, "... channel"]:
        """Random deviations from the mean, the last axis over channels."""
        noise = torch.randn(*shape, len(self.mean), generator=generator)
        return noise @ self.spread.T


def palette_of(teachers: Teachers) -> Palette:
    """From the moments where all sites sent them, else from the first batch norms."""
    if teachers.moments is not None:
        pooled = pooled_moments(teachers.moments, teachers.class_counts.cpu())
        return _from_moments(pooled, Spectrum(teachers.image.channels, teachers.image.size_px))
    means = [_first_mean(member.network, teachers.image.channels) for member in teachers.members]
    mean = torch.stack(means).mean(dim=0)
    return Palette(mean, _DEVIATION * torch.eye(len(mean)))


def _from_moments(pooled: PooledMoments, spectrum: Spectrum) -> Palette:
    """Mean and covariance of the mean colour of images, widened to that of single pixels."""
    weights = pooled.counts / pooled.counts.sum().clamp_min(1)
    spectral = spectrum.dimension
    mean = (weights[:, None] * pooled.means[:, :spectral]).sum(dim=0)
    offsets = pooled.means[:, :spectral] - mean
    covariance = pooled.covariance[:spectral, :spectral]
    covariance = covariance + (weights[:, None] * offsets).T @ offsets
    colour, spread = spectrum.colours(mean[None])[0], spectrum.colour_covariance(covariance)
    ridge = 1e-6 * torch.eye(len(colour), dtype=spread.dtype)
    return Palette(colour.float(), torch.linalg.cholesky(spread + ridge).float())


def _first_mean(network: nn.Module, channels: int) -> Float[Tensor, " channel"]:
    """The mean pixel that explains the first batch norm's running mean best; zero without one.

    The mean response of a filter is the sum of its weights, channel by channel, times the mean
    pixel (but for the border), so the pixel follows by least squares.
    """
    norms = batch_norm_layers(network)
    filters = next(m.weight for m in network.modules() if isinstance(m, nn.Conv2d))
    if not norms or (found := norms[0].running_mean) is None or len(found) != len(filters):
        return torch.zeros(channels)
    # In double precision: in single, the last bit depends on where the tensors lie in memory.
    sums = filters.detach().double().sum(dim=(2, 3)).cpu()
    solution: Tensor = torch.linalg.lstsq(sums, found.double().cpu()[:, None]).solution
    return solution[:, 0].clamp(-1.5, 1.5).float()
