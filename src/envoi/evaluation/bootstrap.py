"""Percentile bootstrap intervals of statistics that accept weighted images.

A resample is a row of weights: how often each image was drawn. A statistic maps a block of such
rows to one value each, so that a thousand resamples are a few matrix products. Images are drawn
as they come and not class by class: a test set's class mix is a matter of chance too, and
accuracy depends on it. Images of one patient resemble one another; given the patients, whole
patients are drawn, and the intervals are as wide as they have to be.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from envoi.errors import Problem, SettingsError, ShapeError
from envoi.results import Interval
from envoi.seeding import numpy_generator

Weights = Float[np.ndarray, "resample image"]
Values = Float[np.ndarray, " resample"]
Statistic = Callable[[Weights], Values]

PERCENTILES = (2.5, 97.5)
BLOCK_ELEMENTS = 1_000_000


def bootstrap_interval(
    statistic: Statistic,
    images: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    patients: NDArray[Any] | None = None,
) -> Interval:
    """A statistic of all images and its 95 % percentile interval.

    A resample in which the statistic is undefined (NaN) is left out; if none is left, the
    interval is 0..1. The interval is widened to hold the estimate where the statistic's bias
    would leave it outside, as happens with the calibration error.

    Memory: resamples are drawn in blocks, so that a block's weights take at most
    `8 * max(images, 1_000_000)` bytes, whatever `resamples` is.

    Args:
        statistic: One value for each row of weights; NaN where it is undefined. One that can be
            undefined for every draw has its values in 0..1.
        images: Number of images.
        resamples: How often the test set is drawn anew.
        seed: Equal seeds draw equal resamples.
        patients: `(image,)`, a code for each image's patient, or None to draw single images.

    Raises:
        SettingsError: `resamples` is below 1.
        ShapeError: `patients` does not have one entry for each image.
    """
    if resamples < 1:
        raise SettingsError(
            Problem("at least 1 resample", str(resamples), "resamples", "Use 1000.")
        )
    value = whole(statistic, images)
    drawn = _draw(_groups(images, patients), resamples, numpy_generator(seed, "bootstrap"))
    values = np.concatenate([statistic(weights) for weights in drawn])
    defined = values[~np.isnan(values)]
    if not defined.size:
        return Interval(value, 0.0, 1.0)
    low, high = np.percentile(defined, PERCENTILES).tolist()
    return Interval(value, min(low, value), max(high, value))


def whole(statistic: Statistic, images: int) -> float:
    """The statistic of the test set as it is: every image once."""
    return float(statistic(np.ones((1, images)))[0])


def _groups(images: int, patients: NDArray[Any] | None) -> NDArray[np.int64]:
    if patients is None:
        return np.arange(images)
    if patients.shape != (images,):
        raise ShapeError(
            Problem(
                f"one entry for each of the {images} images",
                f"shape {patients.shape}",
                "patients",
                "Give one entry for each image.",
            )
        )
    return np.unique(patients, return_inverse=True)[1].astype(np.int64)


def _draw(
    groups: NDArray[np.int64], resamples: int, generator: np.random.Generator
) -> Iterator[Weights]:
    """Blocks of weights: how often each image is in each resample."""
    count = int(groups.max()) + 1
    block = max(1, BLOCK_ELEMENTS // len(groups))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(0, count, size=(rows, count))
        drawn += np.arange(rows)[:, None] * count
        counts = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield np.take(counts, groups, axis=1).astype(np.float64)
