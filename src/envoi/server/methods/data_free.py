"""Data-free distillation: the frame that FedISCA, DAFL, DENSE and Co-Boosting are settings of.

Images are synthesised out of the teachers and the student learns the teachers' answers on them,
one batch for each step of the synthesis. From one budget every method thus gets the same number
of synthesis steps and of student steps, on batches of one size.

Inversion never reads the student, so each batch is distilled as soon as it is made and no list
of images is kept; the result equals two separate phases bit for bit.
"""

import copy
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from envoi.checkpoint import Checkpoint
from envoi.errors import MethodError, Problem
from envoi.progress import OnStep, ignore_step
from envoi.server.adapt import Adaptation
from envoi.server.learned import LearnedWeights
from envoi.server.methods.job import Job
from envoi.server.perturb import Perturbation
from envoi.server.synthesis.inversion import inversion
from envoi.server.synthesis.scene import StartSynthesis
from envoi.server.teacher import Ensemble, Teachers, Weighting, mean_logits
from envoi.settings import Budget


@dataclass(frozen=True, slots=True)
class DataFree:
    """Synthesise, adapt the teachers to noise, distil.

    Attributes:
        name: Phase name in the log.
        synthesis: Where images come from.
        adaptation: Which noise-adapted teachers are blended in.
        weighting: How the teachers' logits become one answer: a rule, or weights to be learned.
        perturbation: How images are moved before the student sees them; None leaves them.

    Raises:
        MethodError: Weights or perturbations are asked for with `EMA`, which makes an epoch's
            images before the first is distilled.
    """

    name: str = "data-free"
    adaptation: Adaptation = Adaptation.BATCH
    weighting: Weighting | LearnedWeights = mean_logits
    synthesis: StartSynthesis = inversion
    perturbation: Perturbation | None = None

    def __post_init__(self) -> None:
        learned = isinstance(self.weighting, LearnedWeights)
        if self.adaptation is Adaptation.EMA and (learned or self.perturbation):
            raise MethodError(
                Problem(
                    "adaptation 'batch' or 'none' with learned weights or perturbations",
                    "'ema'",
                    self.name,
                    "Choose another adaptation.",
                )
            )

    @property
    def synthesises(self) -> bool:
        """Whether its images are those of inversion, which the gallery shows."""
        return self.synthesis is inversion

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

    def taught_by(self, teachers: Teachers) -> nn.Module | None:
        """See `Taught.taught_by`: none where weights are learned beside the student."""
        if isinstance(self.weighting, LearnedWeights):
            return None
        return Ensemble(teachers, self.weighting)

    def flop(self, teachers: Teachers, student: nn.Module, *, budget: Budget) -> float:
        """See `Counted.flop`: one step of each kind is counted."""
        coarse, fine = budget.coarse_steps, budget.synthesis_steps - budget.coarse_steps
        epoch = 0.0
        for steps, share in ((coarse, 1.0), (fine, 0.0)):
            if steps:
                single = replace(budget, outer_epochs=1, synthesis_steps=1, coarse_share=share)
                with FlopCounterMode(display=False) as counter:
                    copied = copy.deepcopy(student)
                    self.fit(teachers, copied, budget=single, generator=torch.Generator())
                epoch += float(counter.get_total_flops()) * steps
        return epoch * budget.outer_epochs
