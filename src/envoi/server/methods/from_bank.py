"""Distillation from a bank of images that are made once: the frame of `envoi`.

Synthesis, teacher and student meet once each: images are drawn, the teachers answer, the student
learns. Nothing is inverted and no network is differentiated but the student, unless the source
refines its images (`synthesis.refined`). A job that is resumed fills its bank again.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from envoi.checkpoint import (
    Checkpoint,
    State,
    pack,
    restore_module,
    unpack,
)
from envoi.errors import Problem, SettingsError
from envoi.networks.classifier import device_of
from envoi.optimisers import Optimisers
from envoi.precision import computing
from envoi.processes import current_processes
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo
from envoi.server.bank import CHUNK, Bank, Source, filled_bank
from envoi.server.distil import distillation_loss
from envoi.server.patience import Patience
from envoi.server.shared_batch_norm import shared_batch_norm
from envoi.server.teacher import Teachers
from envoi.settings import Budget

_WARM_UP = 0.3
_COUNTED_IMAGES = 64


@dataclass(frozen=True, slots=True)
class FromBank:
    """Draw images, ask the teachers, distil.

    Attributes:
        name: Phase name in the log.
        source: Where images come from.
        teacher: How the sites' answers become one.
        temperature: Of the distillation; 1 teaches probabilities as they are.
    """

    name: str
    source: Callable[[Teachers], Source]
    teacher: Callable[[Teachers], nn.Module]
    temperature: float = 1.0

    @property
    def streams(self) -> bool:
        """Whether one network is asked after another: of `Consensus`, that is."""
        return True

    def fit(
        self,
        teachers: Teachers,
        student: nn.Module,
        *,
        budget: Budget,
        generator: torch.Generator,
        on_step: OnStep = ignore_step,
        checkpoint: Checkpoint | None = None,
    ) -> nn.Module:
        """See `Method.fit`."""
        checkpoint = checkpoint or Checkpoint()
        job = _Job(self, student, budget, generator)
        job.check()
        if saved := checkpoint.load():
            job.restore(saved)
        bank = job.fill(self.source(teachers), self.teacher(teachers))
        while not job.is_over:
            info = job.learn(bank)
            if job.processes.first:
                checkpoint.offer(job.state)
            on_step(info)  # may end the job
        return student.eval()

    def taught_by(self, teachers: Teachers) -> nn.Module:
        """See `Taught.taught_by`."""
        return self.teacher(teachers)

    def flop(self, teachers: Teachers, student: nn.Module, *, budget: Budget) -> float:
        """See `Counted.flop`: a few images are answered on and learned once, and all are alike."""
        draws, device, teachers = torch.Generator(), device_of(student), teachers.alike()
        with FlopCounterMode(display=False) as building:
            source, teacher = self.source(teachers), self.teacher(teachers)
        with FlopCounterMode(display=False) as answering:
            bank = filled_bank(source, teacher, _COUNTED_IMAGES, draws, device)
        images, _ = bank.batch(torch.arange(_COUNTED_IMAGES), device)
        pupil = copy.deepcopy(student)
        optimisers = Optimisers(pupil, budget.bank_rate, budget.bank_matrix_rate)
        with FlopCounterMode(display=False) as learning:
            pupil(images).sum().backward()
        with FlopCounterMode(display=False) as stepping:
            optimisers.step()
        visits = budget.bank_steps * budget.bank_batch
        counted = answering.get_total_flops() * budget.bank_images
        counted += learning.get_total_flops() * visits
        once = building.get_total_flops() + stepping.get_total_flops() * budget.bank_steps
        return float(once) + float(counted) / _COUNTED_IMAGES


class _Job:
    """What `fit` carries from step to step; the bank is made again from its seed."""

    def __init__(
        self, method: FromBank, student: nn.Module, budget: Budget, generator: torch.Generator
    ) -> None:
        self.step, self.processes = 0, current_processes()
        self._method, self._student, self._budget = method, student.train(), budget
        self._generator, self._device = generator, device_of(student)
        self._seed = int(torch.randint(2**62, (), generator=generator))
        self._patience = Patience(budget.bank_patience, budget.bank_steps)
        self._optimisers = Optimisers(student, budget.bank_rate, budget.bank_matrix_rate)
        self._learning = _compiled(student) if budget.bank_compiled else student

    @property
    def is_over(self) -> bool:
        """Whether all steps are taken, or further ones would bring nothing."""
        return self.step >= self._budget.bank_steps or self._patience.spent

    def check(self) -> None:
        """Whether every process has something to do."""
        budget, processes = self._budget, self.processes
        processes.require(budget.bank_batch, what="bank_batch")
        if processes.count > 1:
            if budget.bank_compiled:
                raise SettingsError(
                    Problem(
                        "one process, where the student is compiled",
                        f"{processes.count} processes",
                        "budget, bank_compiled",
                        "Leave it out, or start one process.",
                    )
                )
            processes.require(budget.bank_images, what="bank_images", least=CHUNK)

    def fill(self, source: Source, teacher: nn.Module) -> Bank:
        draws, budget = torch.Generator().manual_seed(self._seed), self._budget
        return filled_bank(
            source,
            teacher,
            budget.bank_images,
            draws,
            self._device,
            precision=budget.precision,
            processes=self.processes,
        )

    def learn(self, bank: Bank) -> StepInfo:
        """One step of the student."""
        budget = self._budget
        learned = len(bank) - self._patience.held_out(len(bank))
        index = torch.randint(learned, (budget.bank_batch,), generator=self._generator)
        with shared_batch_norm(self._student, self.processes):
            loss = self._divergence(bank, index)
            self._optimisers.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        self.processes.sum_gradients(self._student.parameters())
        self._optimisers.step(share_of_rate(self.step, budget.bank_steps))
        self.step += 1
        losses = {"distillation": float(self.processes.summed(loss.detach()))}
        if self._patience.is_due(self.step):
            losses["held_out"] = self._held_out(bank)
            self._patience.note(losses["held_out"])
        return StepInfo(self._method.name, self.step, budget.bank_steps, losses)

    def _divergence(self, bank: Bank, index: Tensor) -> Tensor:
        """What this process' share adds to the mean over the images of `index`."""
        own = self.processes.share(index)
        if not len(own):  # the last held-out part may have fewer images than there are processes
            return torch.zeros((), device=self._device)
        images, wanted = bank.batch(own, self._device)
        network = self._learning if self._student.training else self._student
        with computing(self._budget.precision, self._device):
            answers = network(images)
        loss = distillation_loss(answers.float(), wanted, self._method.temperature)
        return loss * (len(own) / len(index))

    @torch.no_grad()
    def _held_out(self, bank: Bank) -> float:
        """The mean divergence on the part that is never learned."""
        held = torch.arange(len(bank))[-self._patience.held_out(len(bank)) :]
        self._student.eval()
        parts = [
            self._divergence(bank, part) * (len(part) / len(held))
            for part in torch.split(held, CHUNK)
        ]
        self._student.train()
        return float(self.processes.summed(torch.stack(parts).sum()))

    def state(self) -> State:
        position = {
            "step": torch.tensor(self.step),
            "seed": torch.tensor(self._seed),
            "generator": self._generator.get_state(),
        }
        return {
            **position,
            **pack("patience", self._patience.state()),
            **pack("student", self._student.state_dict()),
            **self._optimisers.state(),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        restore_module(self._student, unpack("student", state))
        self._optimisers.restore(state)
        self._patience.restore(unpack("patience", state))
        self._generator.set_state(state["generator"])
        self.step, self._seed = int(state["step"]), int(state["seed"])


def _compiled(network: nn.Module) -> nn.Module:
    """A network that shares its weights and answers as it; each step is one CUDA graph on GPUs."""
    return cast("nn.Module", torch.compile(network, dynamic=False, mode="reduce-overhead"))


def share_of_rate(step: int, steps: int) -> float:
    """What the step with index `step` takes of the rates: up along a cosine, then down to zero."""
    rising = max(_WARM_UP * steps, 1)
    if step < rising:
        return (1 - math.cos(math.pi * (step + 1) / (rising + 1))) / 2
    return (1 + math.cos(math.pi * (step - rising) / (steps - rising))) / 2
