"""The teachers themselves as the classifier: what any distillation is measured against."""

from dataclasses import dataclass

import torch
from torch import nn

from envoi.checkpoint import Checkpoint
from envoi.progress import OnStep, ignore_step
from envoi.server.teacher import Ensemble, Teachers, Weighting, mean_logits
from envoi.settings import Budget


@dataclass(frozen=True, slots=True)
class EnsembleOf:
    """All sites' networks under one weighting; nothing is learned.

    Inference costs one forward pass for each site.
    """

    weighting: Weighting = mean_logits

    def fit(
        self,
        teachers: Teachers,
        student: nn.Module,  # noqa: ARG002
        *,
        budget: Budget,  # noqa: ARG002
        generator: torch.Generator,  # noqa: ARG002
        on_step: OnStep = ignore_step,  # noqa: ARG002
        checkpoint: Checkpoint | None = None,  # noqa: ARG002
    ) -> nn.Module:
        """See `Method.fit`."""
        return Ensemble(teachers, self.weighting)

    def flop(self, teachers: Teachers, student: nn.Module, *, budget: Budget) -> float:  # noqa: ARG002
        """See `Counted.flop`."""
        return 0.0
