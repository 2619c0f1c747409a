"""Correlations by a few common factors, in a fraction of the bytes of all pairs.

As in factor analysis, R ~ L L^T + diag(1 - diag(L L^T)): what features share is told by L, of as
many columns as the study's `moment_rank`, and the rest of each feature is taken for its own. L is
the one of greatest likelihood (Lawley 1940; Joereskog 1967, Psychometrika 32) and not the leading
eigenvectors of R: a discriminant divides by variances, so that small ones count, and eigenvectors
spend L on large ones (benchmarks/moment_rank.py has both). In a file L stands in int8 with one
scale for each feature (`quantise`); half precision would be no better.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from envoi.submission.layout import FACTOR_SCALES, FEATURE_FACTORS
from envoi.submission.quantise import INT8_LIMIT, from_int8, to_int8

# From then on the likelihood hardly grows: of 1,500 skin images and 64 factors, the divergence
# from all pairs is 93.6 after one step, 28.70 after twelve and 28.67 after 48. Each step is one
# decomposition of a matrix of the features' size.
_STEPS = 12
_LEAST_OWN = 1e-3  # of a feature's variance; keeps near copies of one another apart


def encoded_factors(correlations: Float[Tensor, "feature feature"], rank: int) -> dict[str, Tensor]:
    """`rank` factors as tensors of a file."""
    levels, scales = to_int8(_fitted(correlations, rank))
    return {FEATURE_FACTORS: levels, FACTOR_SCALES: scales}


def _fitted(
    correlations: Float[Tensor, "feature feature"], rank: int
) -> Float[Tensor, "feature factor"]:
    """Zero for features that are unrelated; NaN, which no file takes, for what is not finite."""
    features = len(correlations)
    if not correlations.isfinite().all():
        return torch.full((features, rank), torch.nan)
    if torch.equal(correlations, torch.eye(features)):
        return torch.zeros(features, rank)
    factors = common_factors(correlations, rank)
    return (factors / _norms(factors).clamp_min(1)).float()


def common_factors(
    correlations: Float[Tensor, "feature feature"], rank: int
) -> Float[Tensor, "feature factor"]:
    """L of the greatest likelihood, by falling eigenvalue, in double precision.

    With P the features' own variances (all at first), L is P^(1/2) U (V - 1)^(1/2) with the
    leading eigenvectors U and eigenvalues V of P^(-1/2) R P^(-1/2); then P is diag(R - L L^T).
    """
    wide = correlations.double()
    own = torch.ones(len(wide), dtype=torch.float64)
    factors = wide[:, :rank]
    for _ in range(_STEPS):
        roots = own.sqrt()[:, None]
        values, vectors = torch.linalg.eigh(wide / roots / roots.T)
        strengths = (values[-rank:] - 1).clamp_min(0).sqrt()
        factors = (roots * vectors[:, -rank:] * strengths).flip(1)
        own = (1 - factors.square().sum(dim=1)).clamp_min(_LEAST_OWN)
    return factors


def completed(factors: Float[Tensor, "feature factor"]) -> Float[Tensor, "feature feature"]:
    """L L^T with a diagonal of one; of correlations whatever L is.

    A feature whose common part is above one, as rounding may make it, has nothing of its own.
    """
    common = factors / _norms(factors).clamp_min(1)
    return (common @ common.T).clamp(-1, 1).fill_diagonal_(1)


def stored_factors(tensors: Mapping[str, Tensor]) -> Float[Tensor, "feature factor"]:
    """The factors among the `tensors` of a file."""
    return from_int8(tensors[FEATURE_FACTORS], tensors[FACTOR_SCALES])


def problem_of_factors(factors: Float[Tensor, "feature factor"]) -> tuple[str, str] | None:
    """What is wrong with the factors of a file, or None: no feature is more than itself.

    Each entry of a row of norm 1 or less is rounded by half a step at the most, and a step is a
    127th of the row's largest entry: an honest file is never refused.
    """
    rank = factors.shape[1]
    most = (1 + rank**0.5 / (2 * INT8_LIMIT)) ** 2
    largest = float(factors.square().sum(dim=1).max())
    if largest > most:
        return f"common parts of at most {most:.3g} of a feature", f"{largest:.3g}"
    return None


def _norms(factors: Float[Tensor, "feature factor"]) -> Float[Tensor, "feature 1"]:
    return factors.square().sum(dim=1, keepdim=True).sqrt()
