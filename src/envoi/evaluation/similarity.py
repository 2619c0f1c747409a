"""How alike the volumes of a set are, and how far two sets are apart as wholes.

MS-SSIM (Wang, Simoncelli, Bovik 2003) among pairs of one set measures variety: it is read
beside that of real pairs, from which it should differ neither up (one volume over and over) nor
down (noise). Voxels outside both brains count as alike, so that values are high for any brains.

MMD (Gretton et al. 2012, JMLR 13, lemma 6) compares two sets; its unbiased estimate scatters
around 0 for sets of one kind.
"""

import numpy as np
import torch
from jaxtyping import Int
from monai.metrics.regression import MultiScaleSSIMMetric
from numpy.typing import NDArray

from envoi.errors import Problem, ShapeError
from envoi.evaluation.arrays import Rows, Square, Volumes, block_means, check_same_shape
from envoi.evaluation.scores import Discrepancy, PairSimilarity
from envoi.seeding import numpy_generator

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the five scales of the paper
DATA_RANGE = 1.0
COARSEST_VOXELS = 12

Indices = Int[NDArray[np.integer], " pair"]


def pair_similarity(volumes: Volumes, *, pairs: int, seed: int) -> PairSimilarity:
    """MS-SSIM among pairs of different volumes, drawn without repetition.

    The window is 7 voxels where the shortest side allows at least two scales with it, and there
    are as many scales as then fit (five from 112 voxels, three from 28).

    Args:
        volumes: Two at least.
        pairs: How many; all of them where there are fewer.
        seed: Of the draw.

    Raises:
        ShapeError: There are fewer than two volumes, or a side has fewer than 6 voxels.
    """
    first, second = _pairs(len(volumes), pairs, seed)
    scales, kernel = scales_that_fit(min(volumes.shape[1:]))
    weights = np.array(SCALE_WEIGHTS[:scales])
    metric = MultiScaleSSIMMetric(
        spatial_dims=3,
        data_range=DATA_RANGE,
        kernel_size=kernel,
        weights=tuple(weights / weights.sum()),
    )
    # One pair at a time: memory does not grow with their number.
    values = [
        _compared(metric, volumes[[a]], volumes[[b]]) for a, b in zip(first, second, strict=True)
    ]
    return PairSimilarity(
        float(np.mean(values)), float(np.std(values)), len(values), scales, kernel, DATA_RANGE
    )


def scales_that_fit(side: int) -> tuple[int, int]:
    """Most scales, and the largest window of 7, 5 or 3 voxels, for a shortest side.

    MONAI asks for `side // (scales - 1)^2 >= kernel`; the coarsest scale has to hold the window.

    Raises:
        ShapeError: Not even two scales fit.
    """
    for kernel in (7, 5, 3):
        for scales in range(len(SCALE_WEIGHTS), 1, -1):
            if side // max((scales - 1) ** 2, 2 ** (scales - 1)) >= kernel:
                return scales, kernel
    raise ShapeError(
        Problem("sides of at least 6 voxels", f"{side}", "volumes", "Compare larger volumes.")
    )


def discrepancies(volumes: Volumes, reference: Volumes) -> tuple[Discrepancy, ...]:
    """MMD of two sets with an RBF and a linear kernel, on means of cubes of voxels.

    Cubes are so large that the shortest side has at least 12 of them, and at most 23. The RBF
    kernel's bandwidth is the median distance among the reference's volumes. The linear
    discrepancy is divided by the number of cubes.

    Raises:
        ShapeError: A set has fewer than two volumes, or shapes differ.
    """
    check_same_shape(volumes, reference, "volumes")
    block = max(1, min(volumes.shape[1:]) // COARSEST_VOXELS)
    one, two = (block_means(part, block).reshape(len(part), -1) for part in (volumes, reference))
    words = f"voxels, means of {block} x {block} x {block}"
    bandwidth = median_distance(two)
    return (
        Discrepancy("rbf", words, rbf_discrepancy(one, two, bandwidth), bandwidth),
        Discrepancy("linear", words, linear_discrepancy(one, two) / one.shape[1], None),
    )


def rbf_discrepancy(one: Rows, two: Rows, bandwidth: float) -> float:
    """Unbiased squared MMD with the kernel exp(-|x - y|^2 / (2 bandwidth^2)).

    Raises:
        ShapeError: A set has fewer than two rows.
    """
    _check_rows(one, two)
    kernels = [
        np.exp(-squared_distances(a, b) / (2 * bandwidth**2))
        for a, b in ((one, one), (two, two), (one, two))
    ]
    return _unbiased(*kernels)


def linear_discrepancy(one: Rows, two: Rows) -> float:
    """Unbiased squared MMD with the kernel x . y: the squared distance of the means.

    Raises:
        ShapeError: A set has fewer than two rows.
    """
    _check_rows(one, two)
    centre = two.mean(axis=0, dtype=np.float64)  # moves both alike, and keeps the sums small
    left, right = one - centre, two - centre
    return _unbiased(left @ left.T, right @ right.T, left @ right.T)


def median_distance(rows: Rows) -> float:
    """Median Euclidean distance among different rows."""
    squares = squared_distances(rows, rows)
    return float(np.sqrt(np.median(squares[np.triu_indices(len(rows), k=1)])))


def squared_distances(one: Rows, two: Rows) -> Square:
    """Of each row of one from each of two, `(one, two)`."""
    left, right = one.astype(np.float64), two.astype(np.float64)
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None] - 2 * left @ right.T
    clipped: Square = np.maximum(squares, 0)  # rounding may leave a distance of 0 below it
    return clipped


def _unbiased(own: Square, others: Square, across: Square) -> float:
    """Means of the three kernel matrices, each row's kernel with itself left out."""
    within = [
        (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))
        for kernel in (own, others)
    ]
    return float(sum(within) - 2 * across.mean())


def _compared(metric: MultiScaleSSIMMetric, one: Volumes, two: Volumes) -> float:
    value = metric(torch.from_numpy(one)[:, None], torch.from_numpy(two)[:, None])
    return float(np.asarray(value).item())


def _pairs(count: int, pairs: int, seed: int) -> tuple[Indices, Indices]:
    if count < 2:
        raise ShapeError(
            Problem("at least two volumes", str(count), "volumes", "Give more volumes.")
        )
    first, second = np.triu_indices(count, k=1)
    drawn = numpy_generator(seed, "pairs").permutation(len(first))[:pairs]
    return first[drawn], second[drawn]


def _check_rows(one: Rows, two: Rows) -> None:
    if min(len(one), len(two)) < 2:
        raise ShapeError(
            Problem(
                "at least two volumes in each set",
                f"{len(one)} and {len(two)}",
                "discrepancy",
                "Give more volumes.",
            )
        )
