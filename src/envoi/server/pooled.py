"""Moments of all sites together, by algebra.

They are those of the pooled images, but for what sites hold back (small classes, rounded counts,
correlations of few images) and for their own shrinkage.

Class means add up weighted by counts; the scatter within classes is the sum of the sites' own
and of the scatter of their class means. Nothing depends on how images were spread over sites,
and a site can be added or taken out exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from envoi.submission import Moments


@dataclass(frozen=True, slots=True, eq=False)
class PooledMoments:
    """Counts, class means and the covariance within classes of the descriptor's features.

    In double precision. Classes that no site told of have a count and a mean of zero.
    """

    counts: Float[Tensor, " class"]
    means: Float[Tensor, "class feature"]
    covariance: Float[Tensor, "feature feature"]


def pooled_moments(
    moments: Sequence[Moments], counts: Float[Tensor, "site class"]
) -> PooledMoments:
    """The moments of all sites' images together.

    A site that had too few images to tell of correlations is given those of the others.

    Args:
        moments: Of each site.
        counts: Images of each class at each site.
    """
    weights = counts.double()
    totals = weights.sum(dim=0)
    own = torch.stack([site.means.double() for site in moments])
    means = (weights[..., None] * own).sum(dim=0) / totals.clamp_min(1)[:, None]
    offsets = (own - means) * weights.sqrt()[..., None]
    between = torch.einsum("kcf,kcg->fg", offsets, offsets)
    within = scatter_within(moments, weights.sum(dim=1))
    return PooledMoments(totals, means, (between + within) / totals.sum().clamp_min(1))


def site_covariances(
    moments: Sequence[Moments], sizes: Float[Tensor, " site"]
) -> list[Float[Tensor, "feature feature"]]:
    """Each site's covariance within classes; the common correlations stand in for missing ones."""
    common = _common_correlations(moments, sizes)
    return [
        _covariance(site, site.correlations if site.has_correlations else common)
        for site in moments
    ]


def scatter_within(
    moments: Sequence[Moments], sizes: Float[Tensor, " site"]
) -> Float[Tensor, "feature feature"]:
    """Scatter of all images about the class means of their own sites."""
    covariances = site_covariances(moments, sizes)
    return torch.stack([n * own for n, own in zip(sizes, covariances, strict=True)]).sum(dim=0)


def _common_correlations(moments: Sequence[Moments], sizes: Float[Tensor, " site"]) -> Tensor:
    telling = [
        n * _covariance(site, site.correlations)
        for n, site in zip(sizes, moments, strict=True)
        if site.has_correlations
    ]
    if not telling:
        return torch.eye(len(moments[0].deviations), dtype=torch.float64)
    total = torch.stack(telling).sum(dim=0)
    scale = total.diagonal().clamp_min(torch.finfo(torch.float64).tiny).rsqrt()
    correlations = total * scale[:, None] * scale
    # Also of features that do not vary at the sites that tell: they may at the others.
    return correlations.fill_diagonal_(1)


def _covariance(site: Moments, correlations: Tensor) -> Float[Tensor, "feature feature"]:
    deviations = site.deviations.double()
    return correlations.double() * deviations[:, None] * deviations
