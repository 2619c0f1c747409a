"""Three tissues from the intensities of one T1-weighted brain, without a map of where they are.

The intensity of one tissue drifts across a scan, so it is first made even by a smooth field
through the brighter half of each neighbourhood. Then expectation and maximisation fit three
Gaussians of one common width to a histogram. With widths of their own they fit better and mean
less: voxels that two tissues share leave real histograms with one hump, which a wide Gaussian
takes whole.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage

from envoi.errors import DataError, Problem
from envoi.volumes import Voxels

BINS = 256
STEPS = 100
START_QUANTILES = (0.05, 0.4, 0.8)
NEIGHBOURHOOD_MM = 20.0
FIELD_MM = 25.0
BRIGHTEST_PERCENTILE = 99.5


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Three Gaussians of one width, from dark to bright: CSF, grey matter, white matter."""

    weights: Float[NDArray[np.float64], "3"]
    means: Float[NDArray[np.float64], "3"]
    deviation: float

    def shares(
        self, intensities: Float[NDArray[np.float64], " value"]
    ) -> Float[NDArray[np.float64], "value 3"]:
        """Probability of each tissue, given the intensity."""
        standard = (intensities[:, None] - self.means) / self.deviation
        logarithms = np.log(self.weights) - standard**2 / 2
        likelihoods = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
        shares: NDArray[np.float64] = likelihoods / likelihoods.sum(axis=1, keepdims=True)
        return shares


def evened(voxels: Voxels, spacing_mm: tuple[float, float, float]) -> Voxels:
    """The brain with equal brightness everywhere: bright tissue is alike in all of it.

    Args:
        voxels: One volume; 0 outside the brain.
        spacing_mm: Along depth, height and width.

    Returns:
        Intensities in units of the 99.5th percentile within the brain, at most 1.
    """
    brain = voxels > 0
    spacing = np.asarray(spacing_mm)
    bright = brain & (voxels >= _local_mean(voxels, brain, NEIGHBOURHOOD_MM / spacing))
    field = _local_mean(voxels, bright, FIELD_MM / spacing)
    even = np.divide(voxels, field, out=np.zeros_like(voxels), where=brain & (field > 0))
    if not brain.any():
        return even
    brightest = max(float(np.percentile(even[brain], BRIGHTEST_PERCENTILE)), 1e-6)
    return np.minimum(even / np.float32(brightest), np.float32(1))


def fit_mixture(intensities: Float[NDArray[np.floating], " voxel"]) -> Mixture:
    """Three Gaussians on a histogram of 256 bins of intensities from 0 to 1.

    Starts at fixed quantiles and takes 100 steps: equal intensities give equal mixtures.

    Raises:
        DataError: There are fewer than three different intensities.
    """
    counts, edges = np.histogram(intensities, bins=BINS, range=(0, 1))
    found = int((counts > 0).sum())
    if found < 3:
        raise DataError(
            Problem(
                "a brain of at least three different intensities",
                str(found),
                "volume",
                "Leave the volume out, or mend what made it.",
            )
        )
    centres = (edges[1:] + edges[:-1]) / 2
    means = np.quantile(intensities, START_QUANTILES).astype(np.float64)
    mixture = Mixture(np.full(3, 1 / 3), means, max(float(np.std(intensities)) / 3, 1 / BINS))
    for _ in range(STEPS):
        mixture = _better(mixture, centres, counts)
    order = np.argsort(mixture.means)
    return Mixture(mixture.weights[order], mixture.means[order], mixture.deviation)


def _better(
    mixture: Mixture,
    centres: Float[NDArray[np.float64], " bin"],
    counts: NDArray[np.int64],
) -> Mixture:
    """One step of expectation and maximisation."""
    weighted = mixture.shares(centres) * counts[:, None]
    totals = np.maximum(weighted.sum(axis=0), 1e-9)
    means = centres @ weighted / totals
    variance = ((centres[:, None] - means) ** 2 * weighted).sum() / totals.sum()
    return Mixture(totals / totals.sum(), means, max(float(np.sqrt(variance)), 1 / BINS))


def _local_mean(voxels: Voxels, where: NDArray[np.bool_], widths: NDArray[np.float64]) -> Voxels:
    """Gaussian mean of the voxels in `where` around each voxel; 0 far from all of them."""
    sums = ndimage.gaussian_filter(np.where(where, voxels, np.float32(0)), widths, truncate=2)
    weights = ndimage.gaussian_filter(where.astype(np.float32), widths, truncate=2)
    mean: Voxels = np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 1e-4)
    return mean
