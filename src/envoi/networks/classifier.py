"""The one shape of all networks: images to features, features to logits."""

from abc import ABC, abstractmethod
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.networks.architecture import Norm


class Classifier(nn.Module, ABC):
    """A feature extractor with a linear head; each family of networks fills in `trunk`.

    Parameter names follow torchvision, so that its ResNet checkpoints load unchanged.
    """

    fc: nn.Linear

    @abstractmethod
    def trunk(self, images: Float[Tensor, "batch channel height width"]) -> Tensor:
        """Feature maps of the last stage, `(batch, feature, height, width)`."""

    def features(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch feature"]:
        """Globally averaged feature maps: what the linear head sees."""
        return self.trunk(images).mean(dim=(2, 3))

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch class"]:
        """Logits of normalised images."""
        return cast("Tensor", self.fc(self.features(images)))


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Batch norm, or group norm with groups of eight channels."""
    if norm is Norm.BATCH:
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(max(1, channels // 8), channels)


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """A same-padded convolution without bias (a norm layer follows or precedes it)."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


def batch_norm_layers(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch-norm layers of `network`, input order."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def freeze(network: nn.Module) -> nn.Module:
    """Evaluation mode and no gradients for weights: what a teacher is."""
    return network.eval().requires_grad_(requires_grad=False)


def device_of(network: nn.Module) -> torch.device:
    """The device that the weights live on."""
    return next(network.parameters()).device


def chosen_device(device: torch.device | None) -> torch.device:
    """`device` with its number; None is the first GPU, or else the CPU."""
    if device is None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device
