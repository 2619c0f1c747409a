"""Tissue and ventricle volumes of skull-stripped T1-weighted brains, in millilitres.

A stand-in, not a segmentation: good for comparing sets of volumes that were prepared alike, not
for saying how large somebody's ventricles are. Tissue is a mixture of three Gaussians on the
intensities of one brain (`envoi.evaluation.tissue`); voxels count for each tissue by the
probability that it has there, and so the blurred rim of a brain counts as CSF. Ventricles are
what is dark, near the middle and deep within the brain; they count as CSF too.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy import ndimage

from envoi.errors import Problem, SettingsError
from envoi.evaluation.arrays import Volumes
from envoi.evaluation.scores import REGIONS, Region, RegionVolume
from envoi.evaluation.tissue import Mixture, evened, fit_mixture
from envoi.results import Interval
from envoi.seeding import numpy_generator
from envoi.volumes import Voxels

DEEP_MM = 14.0
CENTRAL = (0.6, 0.6, 0.4)  # of the brain's extent along depth, height, width
SMALLEST_ML = 0.5
# Towards grey from CSF: narrow ventricles have hardly a voxel that is fluid alone.
DARK = 0.7

Mask = Bool[NDArray[np.bool_], "depth height width"]
Values = Float[NDArray[np.float64], " _volume"]
Spacing = tuple[float, float, float]


def region_volumes(volumes: Volumes, spacing_mm: Spacing) -> dict[Region, Values]:
    """The millilitres of each region in each volume.

    Args:
        volumes: The set; each has a brain of at least three intensities.
        spacing_mm: Along depth, height and width.

    Raises:
        DataError: A volume has no brain, or one of fewer than three intensities.
    """
    measured = [_measure(voxels, spacing_mm) for voxels in volumes]
    return {
        region: np.array([values[number] for values in measured])
        for number, region in enumerate(REGIONS)
    }


def compare_regions(
    volumes: dict[Region, Values], reference: dict[Region, Values], *, resamples: int, seed: int
) -> tuple[RegionVolume, ...]:
    """Each region of a set against the reference, with Cohen's d.

    Args:
        volumes: As `region_volumes` measures them.
        reference: The same of real volumes.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        SettingsError: `resamples` is below 1.
    """
    return tuple(
        RegionVolume(
            region,
            tuple(volumes[region].tolist()),
            tuple(reference[region].tolist()),
            effect_interval(volumes[region], reference[region], resamples=resamples, seed=seed),
        )
        for region in REGIONS
    )


def ventricles(dark: Mask, brain: Mask, spacing_mm: Spacing) -> Mask:
    """Connected dark parts of at least 0.5 ml, near the middle and deep within the brain.

    Deep is 14 mm from what is outside; near the middle is the inner 60 % of the brain's extent
    along depth and height, 40 % along the width. Sulci and fissures are dark too, but reach the
    surface; what of them is as deep and as central (the cistern behind the brain stem) counts.

    Args:
        dark: Where fluid may be.
        brain: Where the brain is; holes in it count as brain.
        spacing_mm: Along depth, height and width.
    """
    filled = ndimage.binary_fill_holes(brain)
    # A border of background: a brain that touches the edge of the volume ends there.
    depth_mm = ndimage.distance_transform_edt(np.pad(filled, 1), sampling=spacing_mm)
    deep = depth_mm[1:-1, 1:-1, 1:-1] >= DEEP_MM
    labels, count = ndimage.label(dark & deep & _central(filled))
    least = SMALLEST_ML * 1000 / float(np.prod(spacing_mm))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    large = np.flatnonzero(sizes >= least)
    found: Mask = np.isin(labels, large[large > 0])
    return found


def cohens_d(values: Values, reference: Values) -> float:
    """Difference of means over the pooled standard deviation; 0 where nothing varies."""
    degrees = max(1, len(values) + len(reference) - 2)
    squares = ((values - values.mean()) ** 2).sum() + ((reference - reference.mean()) ** 2).sum()
    if squares == 0:
        return 0.0
    return float((values.mean() - reference.mean()) / np.sqrt(squares / degrees))


def effect_interval(values: Values, reference: Values, *, resamples: int, seed: int) -> Interval:
    """Cohen's d with its 95 % percentile interval; both sets are drawn anew each time.

    Raises:
        SettingsError: `resamples` is below 1.
    """
    if resamples < 1:
        raise SettingsError(
            Problem("at least 1 resample", str(resamples), "resamples", "Use 1000.")
        )
    draws = numpy_generator(seed, "effect")
    effects = [
        cohens_d(_redrawn(values, draws), _redrawn(reference, draws)) for _ in range(resamples)
    ]
    low, high = np.percentile(effects, (2.5, 97.5)).tolist()
    value = cohens_d(values, reference)
    return Interval(value, min(low, value), max(high, value))


def _measure(voxels: Voxels, spacing_mm: Spacing) -> tuple[float, ...]:
    """Millilitres in the order of `REGIONS`."""
    brain = voxels > 0
    even = evened(voxels, spacing_mm)
    mixture = fit_mixture(even[brain])
    shares = mixture.shares(even[brain].astype(np.float64))
    # Holes are dark as well: what a skull-stripping or a scaling brought to 0.
    inner = ventricles(even < _darkness(mixture), brain, spacing_mm)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    counts = (brain.sum(), *shares.sum(axis=0), inner.sum())
    return tuple(float(count) * voxel_ml for count in counts)


def _darkness(mixture: Mixture) -> float:
    """The intensity below which a voxel counts as fluid."""
    csf, grey, _ = mixture.means
    return float(csf + DARK * (grey - csf))


def _central(brain: Mask) -> Mask:
    """The inner part of the brain's bounding box."""
    inside = np.zeros(brain.shape, dtype=np.bool_)
    ranges = []
    for axis, part in enumerate(CENTRAL):
        others = tuple(other for other in range(3) if other != axis)
        places = np.flatnonzero(brain.any(axis=others))
        middle, half = (places[0] + places[-1]) / 2, (places[-1] - places[0] + 1) / 2 * part
        ranges.append(slice(int(np.ceil(middle - half)), int(np.floor(middle + half)) + 1))
    inside[tuple(ranges)] = True
    return inside


def _redrawn(values: Values, draws: np.random.Generator) -> Values:
    return values[draws.integers(0, len(values), len(values))]
