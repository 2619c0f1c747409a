"""Where a class looks different from hospital to hospital: told by the moments, used near an image.

The consensus rests on classes that look alike everywhere. Moments tell whether they do: with S the
covariance within the classes of each site, d its rank as far as the ridge leaves it, and
D_kc = (m_kc - m_c)^T S^-1 (m_kc - m_c) the distance of a site's class mean from the pooled one,
images of one distribution would give E_kc = d (1/n_k(c) - 1/N(c)) on average. Means are shrunk
towards the pooled ones by what chance explains (James and Stein, 1961, positive part):

    m~_kc = m_c + max(0, 1 - 2 E_kc / D_kc) (m_kc - m_c).

The 2 leaves room for chance: where sites differ in their class mix alone, nothing is left. Then a
class is a mixture of its sites, with Gaussians around m~_kc and the covariance about these means:

    p(x|c) = sum_k n_k(c)/N(c) p_k(x|c),
    n_k(c, x) = N(c) n_k(c) p_k(x|c) / sum_j n_j(c) p_j(x|c).

The first is the closed form of sites that differ; the second is how many of the N(c) images of the
class a site can speak for at x. Both are what they are without shift where all m~_kc = m_c.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.networks.descriptor import Descriptor
from envoi.networks.spectrum import Images
from envoi.server.closed_form import RIDGE, discriminant
from envoi.server.pooled import PooledMoments, pooled_moments, scatter_within
from envoi.server.teacher import Counts
from envoi.submission import Moments
from envoi.types import ImageSpec

# How many times what chance explains a distance must be before anything of it is believed. Label
# skew alone stays below it and two hospitals' chest X-rays far above (benchmarks/shift.py).
_BELIEVED = 2.0
_ABSENT = -1e9


@dataclass(frozen=True, slots=True, eq=False)
class ShiftedMoments:
    """Moments of sites whose classes may look different; in double precision.

    Attributes:
        counts: Images of each class at each site.
        ratios: D/E, how many times farther each class mean is from the pooled one than chance
            explains; 0 for a class that one site alone has.
        means: The class means, shrunk towards the pooled ones.
        covariance: Within classes, about these means.
    """

    counts: Float[Tensor, "site class"]
    ratios: Float[Tensor, "site class"]
    means: Float[Tensor, "site class feature"]
    covariance: Float[Tensor, "feature feature"]

    @property
    def differ(self) -> bool:
        """Whether any class looks different at some site."""
        return bool((self.ratios > _BELIEVED).any())


def shifted_moments(moments: Sequence[Moments], counts: Counts) -> ShiftedMoments:
    """The moments of all sites, with as much of their differences as is more than chance.

    Args:
        moments: Of each site.
        counts: Images of each class at each site, as released.
    """
    sizes = counts.double()
    pooled, total = pooled_moments(moments, counts), sizes.sum().clamp_min(1)
    within = scatter_within(moments, sizes.sum(dim=1)) / total
    offsets = torch.stack([site.means.double() for site in moments]) - pooled.means
    offsets = torch.where((sizes > 0)[..., None], offsets, 0.0)
    ratios = _ratios(offsets, within, sizes)
    kept = (1 - _BELIEVED / ratios).clamp_min(0)
    left = (1 - kept)[..., None] * offsets * sizes.sqrt()[..., None]
    covariance = within + torch.einsum("kcf,kcg->fg", left, left) / total
    return ShiftedMoments(sizes, ratios, pooled.means + kept[..., None] * offsets, covariance)


def _ratios(
    offsets: Float[Tensor, "site class feature"],
    within: Float[Tensor, "feature feature"],
    sizes: Float[Tensor, "site class"],
) -> Float[Tensor, "site class"]:
    """D/E; 0 where a site lacks the class, and where its mean is the pooled one."""
    variances = within.diagonal()
    scale = torch.where(variances > 0, variances, 1.0).rsqrt()
    correlations = within * scale[:, None] * scale
    ridged = correlations + RIDGE * torch.eye(len(scale), dtype=within.dtype)
    rank = torch.linalg.solve(ridged, correlations).trace()
    standard = (offsets * scale).flatten(0, 1)
    distances = (standard * torch.linalg.solve(ridged, standard.T).T).sum(dim=1)
    distances = distances.reshape(sizes.shape)
    totals = sizes.sum(dim=0)
    chance = rank * (1 / sizes.clamp_min(1) - 1 / totals.clamp_min(1))
    shared = (sizes > 0) & (sizes < totals)
    return torch.where(shared, distances / chance, 0.0)


class Local(NamedTuple):
    """What is known near each image.

    Attributes:
        likelihoods: Log-likelihood of each class, up to what all classes share.
        counts: How many images of each class each site can speak for.
    """

    likelihoods: Float[Tensor, "batch class"]
    counts: Float[Tensor, "batch site class"]


class SiteDiscriminant(nn.Module):
    """The closed form of sites whose classes look different, and whose word counts where.

    Args:
        moments: Shrunk.
        image: What inputs look like.
    """

    weight: Tensor
    bias: Tensor
    totals: Tensor

    def __init__(self, moments: ShiftedMoments, image: ImageSpec) -> None:
        super().__init__()
        self._descriptor = Descriptor(image.channels, image.size_px)
        self._shape = tuple(moments.counts.shape)
        flat = moments.counts.flatten(), moments.means.flatten(0, 1), moments.covariance
        weight, bias = discriminant(PooledMoments(*flat))
        totals = moments.counts.sum(dim=0)
        shares = (moments.counts / totals.clamp_min(1)).log().clamp_min(_ABSENT)
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", (bias + shares.flatten()).float())
        self.register_buffer("totals", totals.float())
        self.eval()

    def forward(self, images: Images) -> Local:
        """What is known near normalised images."""
        told = self._descriptor(images) @ self.weight.T + self.bias
        told = told.reshape(len(images), *self._shape)
        likelihoods = torch.where(self.totals > 0, told.logsumexp(dim=1), 0.0)
        return Local(likelihoods, self.totals * told.softmax(dim=1))
