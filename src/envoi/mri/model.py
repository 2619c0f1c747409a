"""What all models of brain volumes share: they learn from a population and draw volumes."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from envoi.errors import MethodError, Problem
from envoi.mri.given import Given
from envoi.mri.population import Persons, Population, Voxels

OnSample = Callable[[int, int], None]


def ignore_sample(done: int, steps: int) -> None:
    """The default callback: nobody listens."""


class VolumeModel(nn.Module, ABC):
    """A generator of volumes `(depth, height, width)` from -1 to 1.

    Attributes:
        outlines: Whether what it draws is exactly -1 outside a brain, and nowhere within.
    """

    outlines: ClassVar[bool] = False

    def prepare(self, population: Population) -> None:
        """What is measured of the training volumes before the first step; nothing by default."""

    @abstractmethod
    def losses(
        self, population: Population, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss terms of one training step on `batch` items; their sum is minimised."""

    def heaviest_losses(
        self, population: Population, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """`losses` of the batch that takes the most memory; only where batches differ."""
        return self.losses(population, batch, generator)

    @abstractmethod
    def draw(
        self,
        persons: Persons,
        *,
        steps: int,
        generator: torch.Generator,
        given: Given | None = None,
        on_sample: OnSample = ignore_sample,
    ) -> Voxels:
        """One volume for each row of `persons`.

        Args:
            persons: Age and sex of each, NaN where it does not matter.
            steps: Of the solver.
            generator: Source of all randomness, on the CPU.
            given: Voxels to keep; models that cannot complete refuse them.
            on_sample: Told about steps done and steps in all, of each volume.

        Raises:
            MethodError: The model cannot complete volumes.
        """

    def _refuse_given(self, given: Given | None, name: str) -> None:
        """For models that cannot complete."""
        if given is not None:
            remedy = "Choose a model trained in mode joint."
            raise MethodError(Problem("no given slices", "some", name, remedy))

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device
