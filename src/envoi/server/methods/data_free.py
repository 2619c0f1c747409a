"""Data-free distillation: the frame that FedISCA and its peers are settings of.

Images are synthesised out of the teachers and the student learns the teachers' answers on them.
Synthesis never reads the student, so each batch is distilled as soon as it is made and no list
of images is kept; the result equals two separate phases bit for bit.
"""

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from envoi.checkpoint import Checkpoint
from envoi.progress import OnStep, ignore_step
from envoi.server.adapt import Adaptation
from envoi.server.methods.job import Job
from envoi.server.teacher import Teachers, Weighting, mean_logits
from envoi.settings import Budget


@dataclass(frozen=True, slots=True)
class DataFree:
    """Synthesise by inversion, adapt the teachers to noise, distil.

    Attributes:
        name: Phase name in the log.
        adaptation: Which noise-adapted teachers are blended in.
        weighting: How the teachers' logits become one answer.
    """

    synthesises: ClassVar[bool] = True

    name: str = "data-free"
    adaptation: Adaptation = Adaptation.BATCH
    weighting: Weighting = mean_logits

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
        job = Job(self, teachers, student, budget, generator)
        checkpoint = checkpoint or Checkpoint()
        if saved := checkpoint.load():
            job.restore(saved)
        while job.epoch < budget.outer_epochs:
            for images, terms in job.path():
                terms["distillation"] = job.learn(images)
                info = job.finish_step(terms)
                if job.resumable:
                    checkpoint.offer(job.state)
                on_step(info)  # may end the job
        return student.eval()

    def flop(self, teachers: Teachers, student: nn.Module, *, budget: Budget) -> float:
        """See `Counted.flop`: one step is counted, and all steps are alike."""
        single = replace(budget, outer_epochs=1, synthesis_steps=1)
        with FlopCounterMode(display=False) as counter:
            self.fit(teachers, copy.deepcopy(student), budget=single, generator=torch.Generator())
        return float(counter.get_total_flops()) * budget.outer_epochs * budget.synthesis_steps
