"""A site's training: its own images, its own validation part, one network of the study.

Plain SGD with the paper's schedule by default (FedISCA, doi 10.1007/978-3-031-43895-0_49).
Order, augmentation and learning rate of a step are functions of the seed and the step's number
alone, so that a killed training goes on to the same bits on a CPU. Nothing leaves from here:
`envoi.site.export` is the only exit.
"""

import math
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from envoi.calibration import fit_temperature
from envoi.checkpoint import Checkpoint
from envoi.errors import EnvoiWarning, Problem, SettingsError
from envoi.networks.classifier import Classifier
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo
from envoi.seeding import torch_generator
from envoi.settings import TrainingSettings
from envoi.site.batches import Index, Inputs, batches, logits_of
from envoi.site.job import check_images
from envoi.site.schedule import learning_rate
from envoi.site.split import split
from envoi.site.state import TrainingState
from envoi.study import Study, mirrored_classes
from envoi.transforms import augment
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

    Raises:
        DataError: There is no image, or the images do not fit the study.
        StudyError: The study does not allow the architecture.
        SettingsError: A loss or weight that is no longer finite, or the checkpoint of another
            job.
    """
    settings = _without_harmful_flips(settings or study.training, study)
    architecture = architecture or study.architectures[0]
    checkpoint = checkpoint or Checkpoint()
    check_images(images, study)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state = TrainingState(study.network(architecture).to(device), settings)
    if saved := checkpoint.load():
        state.restore(saved)
    course = _Course(images, study, settings, (seed, name), device)
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


class _Course:
    """What stays the same during one training: data, settings and random streams."""

    def __init__(
        self,
        images: ImageSet,
        study: Study,
        settings: TrainingSettings,
        stream: tuple[int, str],
        device: torch.device,
    ) -> None:
        self._settings, self._device = settings, device
        self._seed, self._name = stream
        parts = split(images, settings.validation_fraction, self._stream("split"))
        self._training = torch.from_numpy(parts.training)
        self.validation = torch.from_numpy(parts.validation)
        self._inputs = Inputs(images, study.image)
        self._weights = class_weights(images.class_counts) if settings.class_weights else None

    @property
    def validates(self) -> bool:
        """Whether there is a validation part."""
        return len(self.validation) > 0

    def run_epoch(self, state: TrainingState, checkpoint: Checkpoint, on_step: OnStep) -> None:
        """Learn from every image of the training part once, then validate."""
        parts = self._batches(state.epoch)
        network, optimiser = state.network.train(), state.optimiser
        while state.step < len(parts):
            began = time.monotonic()
            for group in optimiser.param_groups:
                group["lr"] = self._rate(state, len(parts))
            inputs, labels = self._draw(parts[state.step], state)
            loss = self._loss(network(inputs), labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            state.finish_step(self._finite(loss, state, "loss"), time.monotonic() - began)
            checkpoint.offer(state.tensors)
            on_step(self._info(state, len(parts), {"loss": state.mean_loss}))
        losses = {"train_loss": state.mean_loss, **self._validate(state)}
        info = self._info(state, len(parts), losses)
        state.finish_epoch(losses.get("validation_loss"))
        checkpoint.offer(state.tensors)
        on_step(info)

    def judged(self, network: Classifier) -> tuple[float | None, float | None]:
        """Accuracy and temperature on the validation part, None without one."""
        if not self.validates:
            return None, None
        logits, labels = self._held_out(network)
        return _accuracy(logits, labels), fit_temperature(logits.numpy(), labels.numpy())

    def _batches(self, epoch: int) -> list[Index]:
        order = torch.randperm(len(self._training), generator=self._stream("order", epoch))
        return batches(self._training[order], self._settings.batch_size)

    def _draw(self, index: Index, state: TrainingState) -> tuple[Tensor, Tensor]:
        inputs = self._inputs.batch(index)
        if self._settings.augment:
            stream = self._stream("augment", state.epoch, state.step)
            inputs = augment(inputs, stream, flip=self._settings.flip)
        return inputs.to(self._device), self._inputs.labels[index].to(self._device)

    def _loss(self, logits: Float[Tensor, "batch class"], labels: Tensor) -> Float[Tensor, ""]:
        weights = None if self._weights is None else self._weights.to(logits.device)
        return cross_entropy(logits, labels, weight=weights)

    def _rate(self, state: TrainingState, steps: int) -> float:
        step = state.epoch * steps + state.step
        return learning_rate(self._settings, step=step, steps_per_epoch=steps)

    def _validate(self, state: TrainingState) -> dict[str, float]:
        if not self.validates:
            return {}
        began = time.monotonic()
        logits, labels = self._held_out(state.network)
        state.seconds += time.monotonic() - began
        loss = self._finite(self._loss(logits, labels), state, "validation loss")
        # An infinite logit of a wrong class leaves the loss finite and spoils the temperature.
        self._finite(logits.double().sum(), state, "sum of validation logits")
        return {"validation_loss": loss, "validation_accuracy": _accuracy(logits, labels)}

    def _held_out(self, network: Classifier) -> tuple[Tensor, Tensor]:
        logits = logits_of(network, self._inputs, self.validation)
        return logits, self._inputs.labels[self.validation]

    def _info(self, state: TrainingState, steps: int, losses: dict[str, float]) -> StepInfo:
        return StepInfo(
            phase=f"{self._name}/train",
            step=state.epoch * steps + state.step,
            steps=self._settings.epochs * steps,
            losses=losses,
            epoch=state.epoch + 1,
        )

    def _finite(self, number: Tensor, state: TrainingState, what: str) -> float:
        value = float(number.detach())
        if not math.isfinite(value):
            raise _diverged(f"a finite {what}", f"{value} in epoch {state.epoch + 1}", self._name)
        return value

    def _stream(self, *names: str | int) -> torch.Generator:
        return torch_generator(self._seed, self._name, "train", *names)


def _without_harmful_flips(settings: TrainingSettings, study: Study) -> TrainingSettings:
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
        raise _diverged("finite weights after the last step", f"others in {wrong[0]}", name)


def _diverged(expected: str, found: str, name: str) -> SettingsError:
    remedy = "Lower the learning rate: training has diverged."
    return SettingsError(Problem(expected, found, f"{name}/train", remedy))


def class_weights(counts: tuple[int, ...]) -> Float[Tensor, " class"]:
    """Inverse class frequencies, 1 for equal classes; 0 for a class without any image."""
    images = torch.tensor(counts, dtype=torch.float32)
    present = images > 0
    return torch.where(present, images.sum() / (present.sum() * images.clamp_min(1)), 0.0)


def _accuracy(logits: Float[Tensor, "image class"], labels: Tensor) -> float:
    return (logits.argmax(dim=1) == labels).double().mean().item()
