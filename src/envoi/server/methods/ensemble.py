"""The teachers themselves as the classifier: what any distillation is measured against."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from envoi.checkpoint import Checkpoint
from envoi.progress import OnStep, ignore_step
from envoi.server.teacher import Ensemble, Teachers, Weighting
from envoi.settings import Budget


def weighted(rule: Weighting) -> Callable[[Teachers], nn.Module]:
    """The teacher that combines logits by a rule which reads them and the counts alone."""
    return partial(Ensemble, weighting=rule)


@dataclass(frozen=True, slots=True)
class EnsembleOf:
    """All sites' networks as one classifier; nothing is learned.

    Inference costs one forward pass for each site.

    Attributes:
        teacher: How their answers become one.
    """

    teacher: Callable[[Teachers], nn.Module]

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
        return self.teacher(teachers)

    def flop(self, teachers: Teachers, student: nn.Module, *, budget: Budget) -> float:  # noqa: ARG002
        """See `Counted.flop`."""
        return 0.0
