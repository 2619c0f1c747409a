"""Training of any model of volumes: a moving average of the weights, resumed after a kill.

A batch may be learned in parts, which several processes (`torchrun`) share; what is drawn depends
on seed, step and part alone, so that two processes learn what one does, within float error.

The average (EMA) is what samples are drawn with. Its decay grows with the steps, so that it
forgets the start (arXiv:2312.02696 discusses why the length matters).
"""

import math
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from envoi.checkpoint import (
    Checkpoint,
    State,
    pack,
    restore_module,
    unpack,
)
from envoi.errors import MethodError, Problem, SettingsError
from envoi.mri.model import VolumeModel
from envoi.mri.population import Population
from envoi.optimisers import Optimisers
from envoi.precision import computing
from envoi.processes import current_processes
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo
from envoi.seeding import torch_generator
from envoi.settings import Precision

_BETAS = (0.9, 0.99)
_LARGEST_NORM = 1.0

Clock = Literal["wall", "processor"]
_OF_MODES: dict[str, dict[str, Any]] = {
    "joint": {"rate": 1e-3, "matrix_rate": 2e-2, "cool_down": 0.5},
    "paper": {"rate": 1e-4, "average": 0.9999, "warm_up": 0},
}
_CLOCKS = {"wall": time.monotonic, "processor": time.process_time}


@dataclass(frozen=True, slots=True, kw_only=True)
class MriTraining:
    """How a model of volumes is trained.

    Attributes:
        steps: Of the optimiser.
        batch: Items of one step (slabs, windows or volumes, as the model has it).
        parts: Of a batch, computed one after the other or by several processes; more parts take
            less memory.
        rate: Learning rate after its warm-up.
        matrix_rate: That of weights that are matrices, which Muon then learns
            (`envoi.optimisers`); 0 leaves them to AdamW.
        warm_up: Steps over which it rises.
        cool_down: Part of the training, at its end, over which it falls linearly to nothing. Where
            `seconds` end the training, each step's rate depends on the time it came at.
        seed: Of weights, batches and noise.
        seconds: Time after which training ends before its last step; 0 is no limit.
        clock: Which time `seconds` means: `processor` is of this process's threads together, and
            compares models trained on a busy machine.
        precision: Of the networks; see `envoi.precision`.
        average: Decay of the weights' average, once steps suffice for it.

    Raises:
        SettingsError: A value is wrong.
    """

    steps: int = 20_000
    batch: int = 8
    parts: int = 1
    rate: float = 3e-4
    matrix_rate: float = 0.0
    warm_up: int = 100
    cool_down: float = 0.0
    seed: int = 0
    seconds: float = 0.0
    clock: Clock = "wall"
    precision: Precision = "auto"
    average: float = 0.999

    @classmethod
    def of_mode(cls, mode: str, **changes: Any) -> "MriTraining":  # noqa: ANN401  (any field)
        """What suits a mode: the paper's rate and average are published, ours were tried out."""
        return cls(**{**_OF_MODES.get(mode, {}), **changes})

    def __post_init__(self) -> None:
        leasts = {"steps": 1, "batch": 1, "warm_up": 0, "matrix_rate": 0, "seconds": 0}
        for name, least in leasts.items():
            if not least <= getattr(self, name) < math.inf:
                raise _wrong(name, f"a number from {least} on", getattr(self, name))
        if self.parts < 1 or self.batch % self.parts:
            raise _wrong("parts", f"a divisor of the batch, {self.batch}", self.parts)
        if not 0 <= self.cool_down <= 1:
            raise _wrong("cool_down", "a value from 0 to 1", self.cool_down)
        for name in ("rate", "average"):
            if not 0 < getattr(self, name) < 1:
                raise _wrong(name, "a value above 0 and below 1", getattr(self, name))


def train(
    model: VolumeModel,
    population: Population,
    settings: MriTraining,
    *,
    checkpoint: Checkpoint | None = None,
    on_step: OnStep = ignore_step,
    name: str = "train",
) -> int:
    """Prepare `model`, train it in place and leave it with its averaged weights, evaluating.

    The number of steps is returned: less than wanted if time ran out.
    Killed and started again with the same checkpoint, it ends with the same weights, unless
    `seconds` limit it.
    """
    checkpoint = checkpoint or Checkpoint()
    model.prepare(population)
    training = _Training(model, settings)
    if saved := checkpoint.load():
        training.restore(saved)
    now = _CLOCKS[settings.clock]
    while training.step < settings.steps:
        began = now()
        losses = training.learn(population)
        training.seconds += now() - began
        info = StepInfo(name, training.step, training.steps_in_all(), losses)
        _check_losses(info)
        if training.processes.first:
            checkpoint.offer(training.state)
        on_step(info)  # may end the job
        if training.time_is_over():
            break
    training.finish()
    return training.step


def _check_losses(info: StepInfo) -> None:
    if info.diverged:
        found = f"NaN in {', '.join(info.diverged)}"
        where, remedy = f"training, step {info.step}", "Lower the rate, and look at the volumes."
        raise MethodError(Problem("finite losses", found, where, remedy))


class _Training:
    """What training carries from step to step."""

    def __init__(self, model: VolumeModel, settings: MriTraining) -> None:
        self.step, self.seconds = 0, 0.0
        self._model, self._settings = model.train(), settings
        self.processes = current_processes()
        self.processes.require(settings.parts, what="parts of a batch")
        self._average = {name: value.detach().clone() for name, value in _parameters(model)}
        self._optimisers = Optimisers(model, settings.rate, settings.matrix_rate, _BETAS)

    def learn(self, population: Population) -> dict[str, float]:
        """One step; its loss terms."""
        share = self._share_of_rate()
        self._optimisers.zero_grad()
        parts = self.processes.share(range(self._settings.parts))
        told = [self._learn_part(part, population) for part in parts]
        self.processes.sum_gradients(self._model.parameters())
        nn.utils.clip_grad_norm_(self._model.parameters(), _LARGEST_NORM)
        self._optimisers.step(share)
        self.step += 1
        self._follow()
        means = torch.stack([torch.stack(list(terms.values())) for terms in told]).sum(dim=0)
        return dict(zip(told[0], self.processes.summed(means).tolist(), strict=True))

    def _share_of_rate(self) -> float:
        """What this step takes of the rates: more and more, all, and less as steps or time end."""
        settings = self._settings
        rising = (self.step + 1) / max(settings.warm_up, 1)
        if not settings.cool_down:
            return min(1.0, rising)
        done = max(self.step / settings.steps, self._time_used())
        falling = (1 - done) / settings.cool_down
        return max(0.0, min(1.0, rising, falling))

    def _learn_part(self, part: int, population: Population) -> dict[str, Tensor]:
        """Add a part's gradients; its share of the loss terms."""
        settings = self._settings
        generator = torch_generator(settings.seed, "mri", "train", self.step, part)
        with computing(settings.precision, self._model.device):
            terms = self._model.losses(population, settings.batch // settings.parts, generator)
        shares = {name: value / settings.parts for name, value in terms.items()}
        torch.stack(list(shares.values())).sum().backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in shares.items()}

    def time_is_over(self) -> bool:
        """Whether the first process has used its time, which ends it for all."""
        return self._time_used() >= 1

    def _time_used(self) -> float:
        """Share of its time that the first process has used, told to all; 0 without a limit."""
        limit = self._settings.seconds
        if not limit:
            return 0.0
        used = self.seconds / limit if self.processes.first else 0.0
        return float(self.processes.summed(torch.tensor(used, dtype=torch.float64)))

    def steps_in_all(self) -> int:
        """As many as are wanted, or as the time will suffice for."""
        limit, wanted = self._settings.seconds, self._settings.steps
        if not limit or not self.seconds:
            return wanted
        return min(wanted, max(self.step, round(self.step * limit / self.seconds)))

    def finish(self) -> None:
        """Give the model its averaged weights."""
        with torch.no_grad():
            for name, value in _parameters(self._model):
                value.copy_(self._average[name])
        self._model.eval()

    def state(self) -> State:
        """All that the next step depends on."""
        return {
            "step": torch.tensor(self.step),
            "seconds": torch.tensor(self.seconds, dtype=torch.float64),
            **pack("model", self._model.state_dict()),
            **pack("average", self._average),
            **self._optimisers.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what `state` gave."""
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        restore_module(self._model, unpack("model", state))
        for name, value in unpack("average", state).items():
            self._average[name].copy_(value)
        self._optimisers.restore(state)

    def _follow(self) -> None:
        decay = min(self._settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in _parameters(self._model):
                self._average[name].lerp_(value, 1 - decay)


def _parameters(model: nn.Module) -> list[tuple[str, Tensor]]:
    return list(model.named_parameters())


def _wrong(name: str, expected: str, found: object) -> SettingsError:
    return SettingsError(Problem(expected, repr(found)[:80], name, f"Correct {name}."))
