"""A method of one's own, under the same conditions as all others.

    envoi bench run phantom --out runs/own --methods fedavg,examples.largest_site:LargestSite

run in the repository's folder with PYTHONPATH=. before it. A method is any object with `fit`;
constructing it is configuring it. This one takes the network of the site with the most images and
moves its batch-norm statistics a tenth of the way to those of procedural images; the student has to
have that site's architecture.
"""

from dataclasses import dataclass

import torch
from torch import nn

from envoi.checkpoint import Checkpoint
from envoi.progress import OnStep, ignore_step
from envoi.server.synthesis.moment_images import ProceduralImages
from envoi.server.teacher import Teachers
from envoi.settings import Budget


@dataclass(frozen=True)
class LargestSite:
    """The network of the largest site, adapted to procedural images.

    Attributes:
        images: How many procedural images set its statistics.
    """

    images: int = 256

    def fit(
        self,
        teachers: Teachers,
        student: nn.Module,
        *,
        budget: Budget,  # noqa: ARG002  (there is nothing to compute less of)
        generator: torch.Generator,
        on_step: OnStep = ignore_step,  # noqa: ARG002
        checkpoint: Checkpoint | None = None,  # noqa: ARG002
    ) -> nn.Module:
        """See `envoi.server.methods.Method.fit`."""
        largest = max(teachers.members, key=lambda member: sum(member.class_counts))
        student.load_state_dict(largest.network.state_dict())
        drawn = ProceduralImages(teachers).draw(self.images, generator)
        student.train()
        with torch.no_grad():
            student(drawn.images.to(teachers.device))
        return student.eval()
