"""Moments of a site's images under the fixed descriptor, as far as the study lets them out."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray

from envoi.networks.descriptor import Descriptor
from envoi.site.batches import EVALUATION_BATCH, Inputs
from envoi.site.job import check_images
from envoi.study import Study
from envoi.submission import Moments
from envoi.types import ImageSet

Features = Float[np.ndarray, "image feature"]

_ROUNDING = 1e-6


def image_moments(images: ImageSet, study: Study) -> Moments:
    """The moments of all images of the site.

    Raises:
        DataError: The images do not fit the study.
    """
    check_images(images, study)
    policy = study.statistics
    return feature_moments(
        features_of(images, study),
        images.labels,
        classes=len(study.classes),
        minimum=policy.minimum_class_size,
        minimum_covariance=policy.minimum_covariance_images,
    )


def features_of(images: ImageSet, study: Study) -> Features:
    """Images under the fixed descriptor."""
    descriptor = Descriptor(study.image.channels, study.image.size_px)
    inputs = Inputs(images, study.image)
    parts = torch.split(torch.arange(len(images)), EVALUATION_BATCH)
    return torch.cat([descriptor(inputs.batch(part)) for part in parts]).numpy()


def feature_moments(
    features: Features,
    labels: Int64[np.ndarray, " image"],
    *,
    classes: int,
    minimum: int,
    minimum_covariance: int,
) -> Moments:
    """Mean of each class, and deviations and shrunk correlations within classes.

    Classes of fewer than `minimum` images have a mean of zero and no part in the rest. With z the
    standardised deviations from the class mean and R = sum z z^T / n their correlations, R is
    shrunk towards the identity (Ledoit and Wolf, J. Multivariate Analysis 88, 2004):

        (1 - b/d) R + b/d I,  d = |R - I|^2,  b = min(d, (sum |z|^4 / n - |R|^2) / n)

    Features have scales of their own (brightness, energies, filter answers); shrinking the
    covariance in place of the correlations would drown the small ones.

    Args:
        features: Of the images.
        labels: Of the images.
        classes: Number of classes of the study.
        minimum: Least number of images of a class that is told of.
        minimum_covariance: Fewer images in all tell of no correlations.
    """
    counts = np.bincount(labels, minlength=classes)
    told = counts >= minimum
    wide = features[told[labels]].astype(np.float64)
    kept = labels[told[labels]]
    means = np.zeros((classes, features.shape[1]))
    np.add.at(means, kept, wide)
    means /= np.maximum(counts, 1)[:, None]
    centred = wide - means[kept]
    deviations = np.sqrt(np.square(centred).sum(axis=0) / max(len(kept), 1))
    # What differs by the rounding of fp32 alone is the same in all images.
    deviations[deviations <= _ROUNDING * np.abs(wide).max(axis=0, initial=0)] = 0
    correlations = np.eye(features.shape[1])
    if len(kept) >= max(minimum_covariance, 1):
        varying = np.broadcast_to(deviations > 0, centred.shape)
        standardised = np.zeros_like(centred)
        correlations = _shrunk(np.divide(centred, deviations, out=standardised, where=varying))
    return Moments(
        torch.from_numpy(means).float(),
        torch.from_numpy(deviations).float(),
        torch.from_numpy(correlations).float(),
    )


def _shrunk(standardised: NDArray[np.float64]) -> NDArray[np.float64]:
    count, size = standardised.shape
    empirical = standardised.T @ standardised / count
    distance = np.square(empirical - np.eye(size)).sum()
    fourth = np.square(np.square(standardised).sum(axis=1)).sum()
    error = min(distance, (fourth / count - np.square(empirical).sum()) / count)
    weight = error / distance if distance > 0 else 0.0
    shrunk = (1 - weight) * empirical + weight * np.eye(size)
    np.fill_diagonal(shrunk, 1)  # also of features that are the same in all images
    return np.asarray(np.clip(shrunk, -1, 1))
