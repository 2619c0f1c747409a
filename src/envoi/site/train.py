"""A site's training: its own images, its own validation part, one network of the study.

Plain SGD with the paper's schedule by default (FedISCA, doi 10.1007/978-3-031-43895-0_49).
A killed training goes on to the same bits on a CPU. Nothing leaves from here:
`envoi.site.export` is the only exit.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from envoi.checkpoint import Checkpoint
from envoi.errors import EnvoiWarning
from envoi.networks.classifier import Classifier, chosen_device
from envoi.progress import OnStep, ignore_step
from envoi.settings import Precision, TrainingSettings
from envoi.site.course import Course, diverged
from envoi.site.job import check_images
from envoi.site.state import TrainingState
from envoi.study import Study, mirrored_classes
from envoi.types import ImageSet


@dataclass(frozen=True, slots=True, eq=False)
class TrainedSite:
    """What a training came to.

    Attributes:
        architecture: A key of `ARCHITECTURES`.
        network: In evaluation mode, on the CPU.
        class_counts: Images of each class, all of the site's.
        validation_accuracy: Fraction of right answers on the site's validation part, or None.
        epochs: Epochs that were run.
        seconds: Wall time of all steps, those before a kill included.
        temperature: Calibrates the logits on the validation part, or None without one.
        settings: That it trained with.
        validation: Indices of the images that only validated; empty without a validation part.
    """

    architecture: str
    network: Classifier
    class_counts: tuple[int, ...]
    validation_accuracy: float | None
    epochs: int
    seconds: float
    temperature: float | None
    settings: TrainingSettings
    validation: NDArray[np.int64]


def train(  # noqa: PLR0913  (a loop's inputs, each of another kind)
    images: ImageSet,
    *,
    study: Study,
    architecture: str | None = None,
    settings: TrainingSettings | None = None,
    seed: int,
    name: str = "site",
    checkpoint: Checkpoint | None = None,
    on_step: OnStep = ignore_step,
    device: torch.device | None = None,
    precision: Precision = "fp32",
) -> TrainedSite:
    """Train one of the study's networks on the images of one site.

    With `settings.patience` above 0 the weights of the epoch with the least validation loss
    are returned, else the last ones. Where class names tell left from right no image is flipped,
    whatever the settings say; a warning and the result's settings tell so.

    Args:
        images: All images of the site.
        study: What all sites agreed on; gives the initial weights.
        architecture: One of the study's; None is its default.
        settings: None is the study's.
        seed: Of the site's own random streams (split, order, augmentation).
        name: Names the streams and the phase told to `on_step`.
        checkpoint: Where to go on from. It stays when training is done, so that a second call
            returns at once; the caller clears it when the result is safe.
        on_step: Told of every step (`loss`, the epoch's mean so far) and of every epoch's end
            (`train_loss`, `validation_loss`, `validation_accuracy`).
        device: None is the first GPU, or else the CPU.
        precision: Of the network while it learns (mixed precision); it is judged in fp32.

    Raises:
        DataError: There is no image, or the images do not fit the study.
        StudyError: The study does not allow the architecture.
        SettingsError: A loss or weight that is no longer finite, or the checkpoint of another
            job.
    """
    settings = without_harmful_flips(settings or study.training, study)
    architecture = architecture or study.architectures[0]
    checkpoint = checkpoint or Checkpoint()
    check_images(images, study)
    device = chosen_device(device)
    state = TrainingState(study.network(architecture).to(device), settings)
    if saved := checkpoint.load():
        state.restore(saved)
    course = Course(images, study, settings, (seed, name), device, precision)
    while not state.finished(validates=course.validates):
        course.run_epoch(state, checkpoint, on_step)
    checkpoint.save(state.tensors())
    network = state.result().cpu().eval()
    _check_weights(network, name)
    accuracy, temperature = course.judged(network)
    return TrainedSite(
        architecture,
        network,
        images.class_counts,
        accuracy,
        state.epoch,
        state.seconds,
        temperature,
        settings,
        course.validation.numpy(),
    )


def without_harmful_flips(settings: TrainingSettings, study: Study) -> TrainingSettings:
    """The settings, with flips off where they would turn one class into another."""
    sides = mirrored_classes(study.classes)
    if sides is None or not (settings.augment and settings.flip):
        return settings
    warnings.warn(
        f"Images are not flipped: the classes {sides[0]} and {sides[1]} tell left from right.",
        EnvoiWarning,
        stacklevel=3,
    )
    return replace(settings, flip=False)


def _check_weights(network: Classifier, name: str) -> None:
    """The last step's weights are in no loss yet where nothing validates."""
    wrong = [key for key, t in network.state_dict().items() if not t.isfinite().all()]
    if wrong:
        raise diverged("finite weights after the last step", f"others in {wrong[0]}", name)
