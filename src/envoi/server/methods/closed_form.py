"""The classifier that one solve on the pooled moments gives, without any network of a site.

Frozen features, summed class counts, means and second moments, a linear discriminant head: the
result hardly depends on how images were spread over sites, and a site can be added or taken out
by algebra. As the encoder is fixed by Envoi it is the same for every study of one kind of image.
"""

from dataclasses import dataclass

import torch
from torch import nn

from envoi.checkpoint import Checkpoint
from envoi.progress import OnStep, ignore_step
from envoi.server.closed_form import DescriptorClassifier, log_prior
from envoi.server.pooled import pooled_moments
from envoi.server.teacher import Teachers
from envoi.settings import Budget


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """Linear discriminant analysis on the sum of all sites' moments.

    Attributes:
        prior_power: The prior is proportional to the pooled counts to this power.
    """

    prior_power: float = 1.0

    @property
    def streams(self) -> bool:
        """Whether networks may stay in their files: none is asked."""
        return True

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
        moments = teachers.moments_for("closed_form")
        pooled = pooled_moments(moments, teachers.class_counts.cpu())
        prior = log_prior(pooled.counts, self.prior_power)
        return DescriptorClassifier(pooled, teachers.image, prior).to(teachers.device)

    def flop(self, teachers: Teachers, student: nn.Module, *, budget: Budget) -> float:  # noqa: ARG002
        """See `Counted.flop`: one solve with a matrix of the features' size."""
        moments = teachers.moments
        size = len(moments[0].deviations) if moments else 0
        return 2 / 3 * size**3
