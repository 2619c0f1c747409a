"""VGG (arXiv:1409.1556) with batch norm and one linear head, for small images.

The head follows global average pooling in place of the paper's three wide layers, which hold
most of its parameters and would be most of every submission.
"""

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from envoi.networks.architecture import Architecture
from envoi.networks.classifier import Classifier, convolution, norm_layer


class VGG(Classifier):
    """Stages of 3x3 convolutions, halved between stages (never below one pixel)."""

    def __init__(self, plan: Architecture, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels
        for stage, (depth, outputs) in enumerate(zip(plan.depths, plan.widths, strict=True)):
            if stage:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            for _ in range(depth):
                layers += [
                    convolution(width, outputs, 3),
                    norm_layer(plan.norm, outputs),
                    nn.ReLU(),
                ]
                width = outputs
        self.stages = nn.Sequential(*layers)
        self.fc = nn.Linear(width, classes)

    def trunk(self, images: Float[Tensor, "batch channel height width"]) -> Tensor:
        """Feature maps of the last stage."""
        return cast("Tensor", self.stages(images))
