"""Images of the pool, moved a little before the student learns from them.

One signed gradient step on the pixels, as Co-Boosting (arXiv:2402.15070) takes it on the fly, so
that the same pool looks different each time.
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from envoi.server.synthesis.answer_losses import divergences
from envoi.server.synthesis.scene import Scene
from envoi.server.teacher import site_logits

Images = Float[Tensor, "batch channel height width"]
Logits = Float[Tensor, "batch class"]


class Direction(StrEnum):
    """Where the images are moved to."""

    OUTPUT = "output"
    STUDENT = "student"


@dataclass(frozen=True, slots=True)
class Perturbation:
    """One step of fixed length for each pixel.

    Attributes:
        direction: `output` (as released: each image along a random direction of the teachers'
            answer, which makes a pool diverse) or `student` (up the divergence of student and
            teachers: towards disagreement).
        step: In normalised units.
        temperature: Of the teachers' answer, for `output`.
    """

    direction: Direction = Direction.OUTPUT
    step: float = 8 / 255
    temperature: float = 4.0

    def __call__(self, scene: Scene, images: Images) -> Images:
        """The images after the step; nothing else changes."""
        shift = torch.zeros_like(images).requires_grad_()
        start = images + shift
        networks = [member.network for member in scene.teachers.members]
        answers = scene.combined(site_logits(networks, start))
        if self.direction is Direction.OUTPUT:
            goal = along_random_direction(answers, self.temperature, scene.generator)
        else:
            goal = divergences(answers, scene.student_answers(start)).sum()
        (gradient,) = torch.autograd.grad(goal, [shift])
        return images + self.step * gradient.sign()


def along_random_direction(
    logits: Logits, temperature: float, generator: torch.Generator
) -> Float[Tensor, ""]:
    """Sum over images of u . softmax(F / temperature), u uniform in [-1, 1] for each image.

    Output-diversified sampling, arXiv:2003.06878, as Co-Boosting uses it.
    """
    directions = 2 * torch.rand(logits.shape, generator=generator) - 1
    return (directions.to(logits.device) * (logits / temperature).softmax(dim=1)).sum()
