"""Moments of a site's images: what a closed-form classifier needs of them.

The features are those of `envoi.networks.descriptor`, which every site computes alike. In a file
the covariance stands as deviations (fp32) and as the lower triangle of the correlations without
its diagonal (fp16, row after row), a quarter of the bytes of a square in fp32; or, where the
study's `moment_rank` says so, as a few `factors` of the correlations.

What they tell of single images stands in docs/submission.md, under its known limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from envoi.submission.factors import (
    completed,
    encoded_factors,
    problem_of_factors,
    stored_factors,
)
from envoi.submission.layout import (
    FACTOR_SCALES,
    FEATURE_CORRELATIONS,
    FEATURE_DEVIATIONS,
    FEATURE_FACTORS,
    FEATURE_MEANS,
)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """First and second moments of the descriptor's features.

    Attributes:
        means: Of each class; zero for classes under the minimum size.
        deviations: Of each feature within classes, pooled over the classes that are told of.
        correlations: Within classes, symmetric with a diagonal of one; zero beside the diagonal
            where the site has too few images for them to leave.
    """

    means: Float[Tensor, "class feature"]
    deviations: Float[Tensor, " feature"]
    correlations: Float[Tensor, "feature feature"]

    @property
    def has_correlations(self) -> bool:
        """Whether the site told how features vary together."""
        return bool((self.correlations != torch.eye(len(self.deviations))).any())

    def encoded(self, rank: int = 0) -> dict[str, Tensor]:
        """As tensors of a file: all correlations, or `rank` factors of them."""
        plain = {
            FEATURE_MEANS: self.means.detach().float().cpu().contiguous(),
            FEATURE_DEVIATIONS: self.deviations.detach().float().cpu().contiguous(),
        }
        correlations = self.correlations.detach().cpu()
        if rank:
            return {**plain, **encoded_factors(correlations, rank)}
        rows, columns = _triangle(len(self.deviations))
        return {**plain, FEATURE_CORRELATIONS: correlations[rows, columns].half()}

    @classmethod
    def taken_from(cls, tensors: dict[str, Tensor]) -> "Moments | None":
        """The moments among the `tensors` of a file, which are taken out; None without any."""
        if FEATURE_MEANS not in tensors:
            return None
        deviations = tensors.pop(FEATURE_DEVIATIONS)
        if FEATURE_FACTORS in tensors:
            correlations = completed(stored_factors(tensors))
            del tensors[FEATURE_FACTORS], tensors[FACTOR_SCALES]
        else:
            correlations = square(tensors.pop(FEATURE_CORRELATIONS), len(deviations))
        return cls(tensors.pop(FEATURE_MEANS), deviations, correlations)


def square(packed: Float[Tensor, " pair"], features: int) -> Float[Tensor, "feature feature"]:
    """The correlation matrix whose lower triangle without diagonal is `packed`."""
    matrix = torch.eye(features)
    rows, columns = _triangle(features)
    matrix[rows, columns] = matrix[columns, rows] = packed.float()
    return matrix


def problem_of_moments(
    tensors: Mapping[str, Tensor], class_counts: tuple[int, ...], *, minimum_images: int
) -> tuple[str, str] | None:
    """What is wrong between the moments and counts (0 for suppressed) of a file, or None.

    Args:
        tensors: Of the file.
        class_counts: As they leave.
        minimum_images: Fewer images in all must not tell of correlations.
    """
    means, deviations = tensors[FEATURE_MEANS], tensors[FEATURE_DEVIATIONS]
    suppressed = torch.tensor([count == 0 for count in class_counts])
    if bool(means[suppressed].any()):
        return "means of zero for classes under the minimum size", "a mean of such a class"
    if bool(suppressed.all()) and bool(deviations.any()):
        return "deviations of zero where every class is under the minimum size", "others"
    if bool((deviations < 0).any()):
        return "deviations of at least 0", f"{float(deviations.min()):.3g}"
    told = tensors[FEATURE_FACTORS if FEATURE_FACTORS in tensors else FEATURE_CORRELATIONS]
    if sum(class_counts) < minimum_images and bool(told.any()):
        return f"no correlations from fewer than {minimum_images} images", "some"
    if FEATURE_FACTORS in tensors:
        return problem_of_factors(stored_factors(tensors))
    return _problem_of_correlations(told.float(), len(deviations))


def _problem_of_correlations(
    packed: Float[Tensor, " pair"], features: int
) -> tuple[str, str] | None:
    if bool((packed.abs() > 1).any()):
        return "correlations from -1 to 1", f"{float(packed.abs().max()):.3g}"
    correlations = square(packed, features).double()
    lowest = float(torch.linalg.eigvalsh(correlations)[0])
    # Half precision rounds an entry by 2^-11 of it at the most, and so no eigenvalue moves by
    # more than that part of the matrix's norm (Weyl): an honest file is never refused.
    if lowest < -(2.0**-11) * float(torch.linalg.matrix_norm(correlations)):
        return "correlations without a direction of negative variance", "such a direction"
    return None


def _triangle(features: int) -> tuple[Tensor, Tensor]:
    rows, columns = torch.tril_indices(features, features, offset=-1)
    return rows, columns
