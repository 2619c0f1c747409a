"""The only exit of a site: from a trained network to what may go into its submission.

What the study's statistics policy does not ask for is not computed.
"""

import torch

from envoi.checkpoint import State
from envoi.networks.classifier import Classifier
from envoi.networks.initialisation import load_trained
from envoi.site.batches import Inputs, logits_of
from envoi.site.job import check_images
from envoi.site.moments import image_moments
from envoi.site.train import TrainedSite
from envoi.study import Study
from envoi.submission import Release, TrainingCard, quantised
from envoi.types import ImageSet


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
    moments = image_moments(images, study) if "feature_moments" in asked else None
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
        moments=moments,
        temperature=trained.temperature if "temperature" in asked else None,
    )


def network_state(trained: TrainedSite) -> State:
    """The network's tensors in fp32, without batch counters."""
    state = trained.network.state_dict()
    return {name: t.detach().float().contiguous() for name, t in state.items() if t.dim() > 0}


def network_as_sent(trained: TrainedSite, study: Study) -> Classifier:
    """The network as the server will see it, its weights in the study's format."""
    network = study.network(trained.architecture)
    return load_trained(network, quantised(network_state(trained), study.weight_format))


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
    inputs = Inputs(held_out, study.image)
    logits = logits_of(network_as_sent(trained, study), inputs, torch.arange(len(held_out)))
    return (logits.argmax(dim=1) == inputs.labels).double().mean().item()
