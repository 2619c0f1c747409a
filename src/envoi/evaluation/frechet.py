"""Frechet distance of slices, for each plane and extractor (arXiv:1706.08500, eq. 6).

Never a bare "FID": a distance depends on the extractor, the plane and the number of slices. So the
extractor's name is in every score, and sets of different size are compared in groups of one
size. Slices of one volume resemble one another, so that groups are of whole volumes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from envoi.errors import Problem, ShapeError
from envoi.evaluation.arrays import Rows, Volumes
from envoi.evaluation.extractors import Extractor
from envoi.evaluation.scores import FrechetScore, Plane
from envoi.evaluation.slices import Indices, plane_slices
from envoi.seeding import numpy_generator

SHRINKAGE = 0.1
_PART = 8


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """Mean and covariance of features."""

    mean: Float[NDArray[np.float64], " feature"]
    covariance: Float[NDArray[np.float64], "feature feature"]


@dataclass(frozen=True, slots=True, eq=False)
class FrechetReference:
    """Slices of real volumes, ready to be compared with.

    Attributes:
        extractor: Of the features.
        plane: Of the slices.
        centre: Mean of each feature.
        scale: Standard deviation of each feature; distances are in these units.
        gaussian: Of the scaled features.
        slices: How many there are.
    """

    extractor: Extractor
    plane: Plane
    centre: Float[NDArray[np.float64], " feature"]
    scale: Float[NDArray[np.float64], " feature"]
    gaussian: Gaussian
    slices: int


def frechet_reference(extractor: Extractor, volumes: Volumes, plane: Plane) -> FrechetReference:
    """The reference of one extractor and plane.

    Raises:
        ShapeError: There are fewer than two slices with enough brain.
    """
    features, _ = slice_features(extractor, volumes, plane)
    centre, spread = features.mean(axis=0), features.std(axis=0)
    # A feature that hardly varies among real slices must not outweigh all others.
    scale = np.maximum(spread, 0.05 * spread.mean() + 1e-12)
    gaussian = gaussian_of((features - centre) / scale)
    return FrechetReference(extractor, plane, centre, scale, gaussian, len(features))


def frechet_score(
    volumes: Volumes, reference: FrechetReference, *, group_volumes: int, seed: int
) -> FrechetScore:
    """Mean distance of groups of volumes from the reference.

    Args:
        volumes: The set.
        reference: Of real volumes.
        group_volumes: Volumes of a group; what is left over makes no group.
        seed: Of the groups.

    Raises:
        ShapeError: There are fewer volumes than one group has, or a group has fewer than two
            slices with enough brain.
    """
    features, owners = slice_features(reference.extractor, volumes, reference.plane)
    scaled = (features - reference.centre) / reference.scale
    parts = [scaled[np.isin(owners, one)] for one in groups(len(volumes), group_volumes, seed)]
    distances = [frechet_distance(gaussian_of(part), reference.gaussian) for part in parts]
    return FrechetScore(
        reference.extractor.name,
        reference.plane,
        float(np.mean(distances)),
        group_volumes,
        len(parts),
        sum(len(part) for part in parts),
        reference.slices,
    )


def slice_features(
    extractor: Extractor, volumes: Volumes, plane: Plane
) -> tuple[Float[NDArray[np.float64], "_slice _feature"], Indices]:
    """Features of all slices with enough brain, and which volume each is of."""
    features, owners = [], []
    for start in range(0, len(volumes), _PART):
        slices = plane_slices(volumes[start : start + _PART], plane)
        features.append(extractor(slices.pixels).astype(np.float64))
        owners.append(slices.volumes + start)
    return np.concatenate(features), np.concatenate(owners)


def gaussian_of(features: Rows) -> Gaussian:
    """Mean and shrunk covariance: 90 % of the sample's, 10 % of the identity.

    All sets are shrunk alike, towards the variance that scaled real features have, so that equal
    sets stay at distance 0.

    Raises:
        ShapeError: There are fewer than two rows.
    """
    if len(features) < 2:
        raise ShapeError(
            Problem(
                "at least two slices with enough brain",
                str(len(features)),
                "Frechet distance",
                "Give more volumes.",
            )
        )
    covariance = np.cov(features, rowvar=False)
    shrunk = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.eye(features.shape[1])
    return Gaussian(features.mean(axis=0, dtype=np.float64), shrunk)


def frechet_distance(one: Gaussian, two: Gaussian) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    C1 C2 has the eigenvalues of the symmetric C1^(1/2) C2 C1^(1/2), so that no square root of a
    matrix that is not symmetric, with its imaginary parts, is ever taken.
    """
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    crossed = np.linalg.eigvalsh(root @ two.covariance @ root)
    traces = np.trace(one.covariance) + np.trace(two.covariance)
    shift = ((one.mean - two.mean) ** 2).sum()
    distance = shift + traces - 2 * np.sqrt(np.maximum(crossed, 0)).sum()
    return max(0.0, float(distance))  # rounding may leave equal Gaussians below 0


def groups(count: int, size: int, seed: int) -> list[NDArray[np.int64]]:
    """Disjoint groups of `size` volumes, drawn from the seed.

    Raises:
        ShapeError: There are not enough volumes for one.
    """
    if not 1 <= size <= count:
        raise ShapeError(
            Problem(f"a group of 1 to {count} volumes", str(size), "groups", "Give more volumes.")
        )
    order = numpy_generator(seed, "groups").permutation(count)
    return [order[start : start + size] for start in range(0, count - size + 1, size)]
