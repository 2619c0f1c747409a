"""The steps of a training on one site's images, whatever the network starts from.

Order, augmentation and learning rate of a step are functions of the seed, the site's name and
the step's number alone, so that a training can stop between any two steps and go on.
"""

import math
import time
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from envoi.calibration import fit_temperature
from envoi.checkpoint import Checkpoint
from envoi.errors import Problem, SettingsError
from envoi.networks.classifier import Classifier
from envoi.precision import computing
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo
from envoi.seeding import torch_generator
from envoi.settings import Precision, TrainingSettings
from envoi.site.augmentation import varied
from envoi.site.batches import Index, Inputs, batches, logits_of
from envoi.site.schedule import learning_rate
from envoi.site.split import split
from envoi.site.state import TrainingState
from envoi.study import Study
from envoi.types import ImageSet

Penalty = Callable[[Classifier], Tensor]


class Course:
    """What stays the same during one training: data, settings and random streams.

    Args:
        images: All images of the site.
        study: Its image specification.
        settings: Batches, rate, augmentation, what becomes of the class mix, and the split.
        stream: Seed and name that select the random streams; the name is the phase as well.
        device: Where the network is.
        precision: Of the network while it learns; weights and their updates keep fp32.

    Attributes:
        validation: Indices of the images that only validate.
    """

    def __init__(
        self,
        images: ImageSet,
        study: Study,
        settings: TrainingSettings,
        stream: tuple[int, str],
        device: torch.device,
        precision: Precision = "fp32",
    ) -> None:
        self._settings, self._device, self._precision = settings, device, precision
        self._seed, self._name = stream
        parts = split(images, settings.validation_fraction, self._stream("split"))
        self._training = torch.from_numpy(parts.training)
        self.validation = torch.from_numpy(parts.validation)
        self._spec, self._inputs = study.image, Inputs(images, study.image)
        self._weights = class_weights(images.class_counts) if settings.class_weights else None
        self._log_mix = log_mix(images.class_counts)

    @property
    def validates(self) -> bool:
        """Whether there is a validation part."""
        return len(self.validation) > 0

    def run_epoch(self, state: TrainingState, checkpoint: Checkpoint, on_step: OnStep) -> None:
        """Learn from every image of the training part once, then validate."""
        steps = self.learn(state, checkpoint, on_step)
        losses = {"train_loss": state.mean_loss, **self._validate(state)}
        info = self._info(state, steps, losses)
        state.finish_epoch(losses.get("validation_loss"))
        checkpoint.offer(state.tensors)
        on_step(info)

    def learn(
        self,
        state: TrainingState,
        checkpoint: Checkpoint | None = None,
        on_step: OnStep = ignore_step,
        *,
        penalty: Penalty | None = None,
    ) -> int:
        """Take the steps of the running epoch that are left; the epoch is not yet counted.

        Args:
            state: Changed in place.
            checkpoint: Offered the state after each step.
            on_step: Told of each step.
            penalty: Added to each step's loss, but not to the loss that is told.

        Returns:
            Steps of a whole epoch.

        Raises:
            SettingsError: A loss is not finite.
        """
        checkpoint = checkpoint or Checkpoint()
        parts = self._batches(state.epoch)
        network, optimiser = state.network.train(), state.optimiser
        while state.step < len(parts):
            began = time.monotonic()
            for group in optimiser.param_groups:
                group["lr"] = self._rate(state, len(parts))
            inputs, labels = self._draw(parts[state.step], state)
            with computing(self._precision, self._device):
                logits = network(inputs)
            loss = self._loss(logits.float(), labels)
            optimiser.zero_grad()
            (loss + penalty(network) if penalty else loss).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            state.finish_step(self._finite(loss, state, "loss"), time.monotonic() - began)
            checkpoint.offer(state.tensors)
            on_step(self._info(state, len(parts), {"loss": state.mean_loss}))
        return len(parts)

    def held_out(
        self, network: Classifier
    ) -> tuple[Float[Tensor, "image class"], Int64[Tensor, " image"]]:
        """Logits and labels of the validation part, which has one image at least."""
        logits = logits_of(network, self._inputs, self.validation)
        return logits, self._inputs.labels[self.validation]

    def judged(self, network: Classifier) -> tuple[float | None, float | None]:
        """Accuracy and temperature on the validation part, None without one."""
        if not self.validates:
            return None, None
        logits, labels = self.held_out(network)
        # Held-out images have the site's own class mix; what training took of it is given back.
        restored = (1 - self._settings.mix_power) * self._log_mix
        temperature = fit_temperature(logits.numpy(), labels.numpy(), restored.numpy())
        return _accuracy(logits, labels), temperature

    def _batches(self, epoch: int) -> list[Index]:
        order = torch.randperm(len(self._training), generator=self._stream("order", epoch))
        return batches(self._training[order], self._settings.batch_size)

    def _draw(self, index: Index, state: TrainingState) -> tuple[Tensor, Tensor]:
        inputs = self._inputs.batch(index)
        stream = self._stream("augment", state.epoch, state.step)
        inputs = varied(inputs, stream, self._settings, self._spec)
        return inputs.to(self._device), self._inputs.labels[index].to(self._device)

    def _loss(self, logits: Float[Tensor, "batch class"], labels: Tensor) -> Float[Tensor, ""]:
        weights = None if self._weights is None else self._weights.to(logits.device)
        mix = self._settings.logit_adjustment * self._log_mix.to(logits.device)
        return cross_entropy(logits + mix, labels, weight=weights)

    def _rate(self, state: TrainingState, steps: int) -> float:
        step = state.epoch * steps + state.step
        return learning_rate(self._settings, step=step, steps_per_epoch=steps)

    def _validate(self, state: TrainingState) -> dict[str, float]:
        if not self.validates:
            return {}
        began = time.monotonic()
        logits, labels = self.held_out(state.network)
        state.seconds += time.monotonic() - began
        loss = self._finite(self._loss(logits, labels), state, "validation loss")
        # An infinite logit of a wrong class leaves the loss finite and spoils the temperature.
        self._finite(logits.double().sum(), state, "sum of validation logits")
        return {"validation_loss": loss, "validation_accuracy": _accuracy(logits, labels)}

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
            raise diverged(f"a finite {what}", f"{value} in epoch {state.epoch + 1}", self._name)
        return value

    def _stream(self, *names: str | int) -> torch.Generator:
        return torch_generator(self._seed, self._name, "train", *names)


def class_weights(counts: tuple[int, ...]) -> Float[Tensor, " class"]:
    """Inverse class frequencies, 1 for equal classes; 0 for a class without any image."""
    images = torch.tensor(counts, dtype=torch.float32)
    present = images > 0
    return torch.where(present, images.sum() / (present.sum() * images.clamp_min(1)), 0.0)


def log_mix(counts: tuple[int, ...]) -> Float[Tensor, " class"]:
    """Logarithm of each class's share of the images; 0 for a class without any.

    By the letter that were minus infinity, and the loss would leave such a class out: its logit
    would be whatever training makes of it on images of others, and could win. With 0 the loss
    lowers it as plain training does: a network gives no chance to what its site never saw,
    whatever the adjustment.
    """
    images = torch.tensor(counts, dtype=torch.float32)
    return torch.where(images > 0, images.clamp_min(1) / images.sum().clamp_min(1), 1.0).log()


def diverged(expected: str, found: str, name: str) -> SettingsError:
    """The error of a training whose numbers are no longer finite."""
    remedy = "Lower the learning rate: training has diverged."
    return SettingsError(Problem(expected, found, f"{name}/train", remedy))


def _accuracy(logits: Float[Tensor, "image class"], labels: Tensor) -> float:
    return (logits.argmax(dim=1) == labels).double().mean().item()
