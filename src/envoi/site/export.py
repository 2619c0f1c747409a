"""The only exit of a site: from a trained network to what may go into its submission.

What the study's statistics policy does not ask for is not computed.
"""

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from envoi.checkpoint import State
from envoi.errors import Problem, SettingsError
from envoi.networks.initialisation import load_trained
from envoi.site.batches import Inputs, features_of, logits_of
from envoi.site.job import check_images
from envoi.site.train import TrainedSite
from envoi.study import Study
from envoi.submission import Release, TrainingCard, quantised
from envoi.types import ImageSet

Features = Float[np.ndarray, "image feature"]
Moments = tuple[Float[np.ndarray, "class feature"], Float[np.ndarray, "feature feature"]]


def release(trained: TrainedSite, images: ImageSet, *, study: Study) -> Release:
    """What the site may send; counts are exact here, writing suppresses and rounds them.

    Args:
        trained: The site's network.
        images: The images that it was trained and validated on.
        study: Whose policy says which statistics to compute.

    Raises:
        DataError: The images do not fit the study.
        SettingsError: Feature moments are asked for, and the network's are not finite.
    """
    asked = study.statistics.release
    means, covariance = None, None
    if "feature_moments" in asked:
        means, covariance = _moments_of(trained, images, study)
    return Release(
        architecture=trained.architecture,
        state=network_state(trained),
        class_counts=trained.class_counts,
        card=TrainingCard(
            epochs=trained.epochs,
            images=sum(trained.class_counts),
            validation_accuracy=trained.validation_accuracy,
            settings=None if trained.settings == study.training else trained.settings,
        ),
        feature_means=means,
        feature_covariance=covariance,
        temperature=trained.temperature if "temperature" in asked else None,
    )


def network_state(trained: TrainedSite) -> State:
    """The network's tensors in fp32, without batch counters."""
    state = trained.network.state_dict()
    return {name: t.detach().float().contiguous() for name, t in state.items() if t.dim() > 0}


def accuracy_as_sent(trained: TrainedSite, images: ImageSet, *, study: Study) -> float | None:
    """Accuracy on the site's validation part of the weights as the server will see them.

    The distance to `trained.validation_accuracy` is what the study's weight format costs; None
    without a validation part.

    Raises:
        DataError: The images do not fit the study.
    """
    if not len(trained.validation) or study.weight_format == "fp32":
        return trained.validation_accuracy
    check_images(images, study)
    held_out = images.subset(trained.validation)
    network = study.network(trained.architecture)
    load_trained(network, quantised(network_state(trained), study.weight_format))
    inputs = Inputs(held_out, study.image)
    logits = logits_of(network, inputs, torch.arange(len(held_out)))
    return (logits.argmax(dim=1) == inputs.labels).double().mean().item()


def feature_moments(
    features: Features, labels: Int64[np.ndarray, " image"], *, classes: int, minimum: int
) -> Moments:
    """Mean feature of each class, and the shrunk covariance within classes.

    Classes of fewer than `minimum` images have a mean of zero and no part in the covariance.
    The covariance is pooled over the others, S = sum (x - mean)(x - mean)^T / n, and shrunk
    towards a multiple of the identity (Ledoit and Wolf, J. Multivariate Analysis 88, 2004):

        (1 - b/d) S + b/d m I,  m = trace S / p,  d = |S - m I|^2,
        b = min(d, (sum |x|^4 / n - |S|^2) / n)

    Args:
        features: Of the images.
        labels: Of the images.
        classes: Number of classes of the study.
        minimum: Least number of images of a class that is told of.
    """
    counts = np.bincount(labels, minlength=classes)
    told = counts >= minimum
    wide = features[told[labels]].astype(np.float64)
    kept = labels[told[labels]]
    means = np.zeros((classes, features.shape[1]))
    np.add.at(means, kept, wide)
    means /= np.maximum(counts, 1)[:, None]
    return means, _shrunk_covariance(wide - means[kept])


def _shrunk_covariance(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    count, size = centred.shape
    target = np.eye(size)
    if count == 0:
        return np.zeros_like(target)
    empirical = centred.T @ centred / count
    target *= np.trace(empirical) / size
    distance = np.square(empirical - target).sum()
    fourth = np.square(np.square(centred).sum(axis=1)).sum()
    error = min(distance, (fourth / count - np.square(empirical).sum()) / count)
    weight = error / distance if distance > 0 else 0.0
    return np.asarray((1 - weight) * empirical + weight * target)


def _moments_of(trained: TrainedSite, images: ImageSet, study: Study) -> tuple[Tensor, Tensor]:
    check_images(images, study)
    inputs = Inputs(images, study.image)
    features = features_of(trained.network, inputs, torch.arange(len(images)))
    if not features.isfinite().all():
        remedy = "Lower the learning rate: training has diverged."
        raise SettingsError(Problem("finite features", "others", "feature moments", remedy))
    means, covariance = feature_moments(
        features.numpy(),
        images.labels,
        classes=len(study.classes),
        minimum=study.statistics.minimum_class_size,
    )
    return torch.from_numpy(means).float(), torch.from_numpy(covariance).float()
