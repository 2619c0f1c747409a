"""Correlations by a few common factors, in a fraction of the bytes of all pairs.

As in factor analysis (Lawley and Maxwell 1971), R ~ L L^T + diag(1 - diag(L L^T)): what features
share is told by L, of as many columns as the study's `moment_rank`, and the rest of each feature
is taken for its own. L holds the leading eigenvectors of R, each times the root of its eigenvalue.
In a file it stands in int8 with one scale for each feature (`quantise`).
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from envoi.submission.layout import FACTOR_SCALES, FEATURE_FACTORS
from envoi.submission.quantise import INT8_LIMIT, from_int8, to_int8


def encoded_factors(
    correlations: Float[Tensor, "feature feature"], rank: int
) -> dict[str, Tensor]:
    """The leading `rank` factors as tensors of a file."""
    levels, scales = to_int8(_leading(correlations, rank))
    return {FEATURE_FACTORS: levels, FACTOR_SCALES: scales}


def _leading(
    correlations: Float[Tensor, "feature feature"], rank: int
) -> Float[Tensor, "feature factor"]:
    """Zero for features that are unrelated; NaN, which no file takes, for what is not finite."""
    features = len(correlations)
    if not correlations.isfinite().all():
        return torch.full((features, rank), torch.nan)
    if torch.equal(correlations, torch.eye(features)):
        return torch.zeros(features, rank)
    values, vectors = torch.linalg.eigh(correlations.double())
    return (vectors * values.clamp_min(0).sqrt())[:, -rank:].flip(1).float()


def completed(factors: Float[Tensor, "feature factor"]) -> Float[Tensor, "feature feature"]:
    """L L^T with a diagonal of one; of correlations whatever L is.

    A feature whose common part is above one, as rounding may make it, has nothing of its own.
    """
    common = factors / factors.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1)
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
