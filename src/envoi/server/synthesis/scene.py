"""What a synthesis may look at, and what it has to offer.

A synthesis is started from a `Scene` and then makes one batch of images for each step of the
student. Whether it reads the student, keeps a pool or starts anew is its own affair.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from envoi.checkpoint import State
from envoi.server.synthesis.view import View, view_of
from envoi.server.teacher import SiteLogits, Teachers, Weighting
from envoi.settings import Budget

Images = Float[Tensor, "batch channel height width"]
Logits = Float[Tensor, "batch class"]
Terms = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything around a synthesis.

    Attributes:
        teachers: Frozen.
        student: As far as it has come; changes from step to step.
        weighting: How the teachers' logits become one answer; may change as well.
        budget: Of the job.
        generator: Source of all randomness.
    """

    teachers: Teachers
    student: nn.Module
    weighting: Weighting
    budget: Budget
    generator: torch.Generator

    @cached_property
    def view(self) -> View:
        """The teachers' logits and the distances of their statistics."""
        return view_of(self.teachers)

    @property
    def device(self) -> torch.device:
        """Of the teachers."""
        return self.teachers.device

    def combined(self, logits: SiteLogits) -> Logits:
        """The one answer F(x) that the sites' logits make."""
        return self.weighting(logits, self.teachers.class_counts.to(logits.device))

    def student_answers(self, images: Images) -> Logits:
        """The student's logits in evaluation mode, with a gradient for the images.

        Its batch norm must not learn from images that are still being made.
        """
        with _evaluating(self.student):
            logits: Tensor = self.student(images)
        return logits


@runtime_checkable
class Synthesis(Protocol):
    """A source of images.

    Attributes:
        lasting: Whether it serves the whole job; if not, each outer epoch starts a new one.
        targets: The wanted classes of the images that `advance` returned last.
    """

    lasting: bool
    targets: Int[Tensor, " batch"]

    def advance(self) -> tuple[Images, Terms]:
        """Images for one step of the student (own storage), and the loss terms behind them."""
        ...

    def state(self) -> State:
        """All that `advance` changes, but for the generator of random numbers."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state` taken between two steps."""
        ...


StartSynthesis = Callable[[Scene], Synthesis]


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
