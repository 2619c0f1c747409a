"""Test images as the judge of classifiers: the same images, the same measures, for all."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import nn

from envoi.evaluation import check_test_labels, compare_with_teacher, evaluate
from envoi.results import Distillation, Metrics
from envoi.server.build import predict
from envoi.types import ImageSet, ImageSpec


@dataclass(frozen=True, slots=True, eq=False)
class ImageJudge:
    """A `Judge` (`envoi.server.run`).

    Attributes:
        images: What every classifier is asked.
        spec: How they become a network's inputs.
        device: Where networks are asked; None is where they are.

    Raises:
        DataError: They cannot measure anything.
    """

    images: ImageSet
    spec: ImageSpec
    device: torch.device | None = None

    def __post_init__(self) -> None:
        check_test_labels(self.images.labels, classes=len(self.images.class_names))

    @property
    def digest(self) -> str:
        """Identifies the images."""
        return self.images.digest

    def __call__(self, network: nn.Module) -> Metrics:
        """How well `network` answers them."""
        images = self.images
        return evaluate(
            self._answers(network), images.labels, patients=images.patients, sites=images.sites
        )

    def compare(self, student: nn.Module, teacher: nn.Module) -> Distillation:
        """What `student` has kept of `teacher`."""
        images = self.images
        return compare_with_teacher(
            self._answers(student),
            self._answers(teacher),
            images.labels,
            patients=images.patients,
            sites=images.sites,
        )

    def _answers(self, network: nn.Module) -> Float[NDArray[np.float64], "image class"]:
        return predict(network, self.images.images, self.spec, device=self.device)
