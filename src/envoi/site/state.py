"""All that a training carries from one step to the next, and what a checkpoint holds of it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from envoi.checkpoint import (
    State,
    optimiser_state,
    pack,
    restore_module,
    restore_optimiser,
    unpack,
)
from envoi.networks.classifier import Classifier
from envoi.settings import TrainingSettings


class TrainingState:
    """The state of one training, always that between two steps.

    Attributes:
        network: Being trained, in place.
        optimiser: SGD over all its weights.
        epoch: Epochs that are complete, validation included.
        step: Steps done in the epoch that runs.
        seconds: Wall time of all steps so far.
    """

    def __init__(self, network: Classifier, settings: TrainingSettings) -> None:
        self.network = network
        self.optimiser = torch.optim.SGD(
            network.parameters(),
            lr=settings.rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        self.epoch = self.step = 0
        self.seconds = 0.0
        self._epochs, self._patience = settings.epochs, settings.patience
        self._loss_sum = 0.0
        self._best_loss, self._best_epoch = float("inf"), 0
        self._best: State = {}

    @property
    def mean_loss(self) -> float:
        """Mean training loss of the running epoch's steps so far."""
        return self._loss_sum / max(self.step, 1)

    def finished(self, *, validates: bool) -> bool:
        """Whether all epochs are done, or patience has run out."""
        impatient = validates and 0 < self._patience <= self.epoch - self._best_epoch
        return self.epoch >= self._epochs or impatient

    def finish_step(self, loss: float, seconds: float) -> None:
        """Count one step."""
        self.step += 1
        self._loss_sum += loss
        self.seconds += seconds

    def finish_epoch(self, validation_loss: float | None) -> None:
        """Count one epoch and keep its weights if they validate better than all before."""
        self.epoch += 1
        self.step, self._loss_sum = 0, 0.0
        if self._patience and validation_loss is not None and validation_loss < self._best_loss:
            self._best_loss, self._best_epoch = validation_loss, self.epoch
            self._best = pack("best", self.network.state_dict())

    def result(self) -> Classifier:
        """The network with its final weights: the best epoch's with patience, else the last."""
        if self._best:
            restore_module(self.network, unpack("best", self._best))
        return self.network

    def tensors(self) -> State:
        """Everything as tensors."""
        counters = (self.epoch, self.step, self._best_epoch)
        measures = (self.seconds, self._loss_sum, self._best_loss)
        return {
            "counters": torch.tensor(counters, dtype=torch.int64),
            "measures": torch.tensor(measures, dtype=torch.float64),
            **pack("network", self.network.state_dict()),
            **pack("optimiser", optimiser_state(self.optimiser)),
            **self._best,
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self.epoch, self.step, self._best_epoch = tensors["counters"].tolist()
        self.seconds, self._loss_sum, self._best_loss = tensors["measures"].tolist()
        restore_module(self.network, unpack("network", tensors))
        restore_optimiser(self.optimiser, unpack("optimiser", tensors))
        self._best = {key: value for key, value in tensors.items() if key.startswith("best/")}
