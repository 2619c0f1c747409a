"""One-shot federated averaging: the mean of the sites' weights (arXiv:1602.05629, one round)."""

from dataclasses import dataclass

import torch
from torch import nn

from envoi.checkpoint import Checkpoint
from envoi.progress import OnStep, ignore_step
from envoi.server.distil import average_state
from envoi.server.teacher import Teachers
from envoi.settings import Budget


@dataclass(frozen=True, slots=True)
class FedAvg:
    """Weights and batch-norm statistics averaged by numbers of images."""

    def fit(
        self,
        teachers: Teachers,
        student: nn.Module,
        *,
        budget: Budget,  # noqa: ARG002
        generator: torch.Generator,  # noqa: ARG002
        on_step: OnStep = ignore_step,  # noqa: ARG002
        checkpoint: Checkpoint | None = None,  # noqa: ARG002
    ) -> nn.Module:
        """See `Method.fit`."""
        student.load_state_dict(average_state(student, teachers))
        return student.eval()

    def flop(self, teachers: Teachers, student: nn.Module, *, budget: Budget) -> float:  # noqa: ARG002
        """See `Counted.flop`: two operations for each weight of each site."""
        weights: int = sum(tensor.numel() for tensor in student.state_dict().values())
        return 2.0 * weights * len(teachers.members)
