"""Residual networks (arXiv:1512.03385) and wide pre-activation ones (arXiv:1605.07146).

ReLU is never in place: activations are read by the statistics of the synthesis.
"""

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from envoi.networks.architecture import Architecture, Norm, Stem
from envoi.networks.classifier import Classifier, convolution, norm_layer


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (1512.03385, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs, 3, stride)
        self.bn1 = norm_layer(norm, outputs)
        self.conv2 = convolution(outputs, outputs, 3)
        self.bn2 = norm_layer(norm, outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                convolution(inputs, outputs, 1, stride), norm_layer(norm, outputs)
            )

    def forward(self, maps: Tensor) -> Tensor:
        """`(batch, inputs, height, width)` to `(batch, outputs, height/stride, width/stride)`."""
        inner = functional.relu(self.bn1(self.conv1(maps)))
        inner = self.bn2(self.conv2(inner))
        return functional.relu(inner + self.downsample(maps))


class ResNet(Classifier):
    """ResNet with either stem; torchvision's parameter names."""

    def __init__(self, plan: Architecture, channels: int, classes: int) -> None:
        super().__init__()
        width = plan.widths[0]
        large = plan.stem is Stem.LARGE
        self.conv1 = (
            nn.Conv2d(channels, width, 7, 2, padding=3, bias=False)
            if large
            else convolution(channels, width, 3)
        )
        self.bn1 = norm_layer(plan.norm, width)
        self.maxpool: nn.Module = nn.MaxPool2d(3, 2, padding=1) if large else nn.Identity()
        stages = zip(plan.depths, plan.widths, strict=True)
        for number, (depth, outputs) in enumerate(stages, start=1):
            blocks = [BasicBlock(width, outputs, 1 if number == 1 else 2, plan.norm)]
            blocks += [BasicBlock(outputs, outputs, 1, plan.norm) for _ in range(depth - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            width = outputs
        self.stages = len(plan.depths)
        self.fc = nn.Linear(width, classes)

    def trunk(self, images: Float[Tensor, "batch channel height width"]) -> Tensor:
        """Feature maps of the last stage."""
        maps = self.maxpool(functional.relu(self.bn1(self.conv1(images))))
        for number in range(1, self.stages + 1):
            maps = self.get_submodule(f"layer{number}")(maps)
        return cast("Tensor", maps)


class WideBlock(nn.Module):
    """Norm, ReLU, convolution, twice, and a shortcut (1605.07146, figure 1)."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.bn1 = norm_layer(norm, inputs)
        self.conv1 = convolution(inputs, outputs, 3, stride)
        self.bn2 = norm_layer(norm, outputs)
        self.conv2 = convolution(outputs, outputs, 3)
        self.same = inputs == outputs and stride == 1
        self.shortcut: nn.Module = (
            nn.Identity() if self.same else convolution(inputs, outputs, 1, stride)
        )

    def forward(self, maps: Tensor) -> Tensor:
        """`(batch, inputs, height, width)` to `(batch, outputs, height/stride, width/stride)`."""
        active = functional.relu(self.bn1(maps))
        inner = self.conv2(functional.relu(self.bn2(self.conv1(active))))
        return cast("Tensor", inner + self.shortcut(maps if self.same else active))


class WideResNet(Classifier):
    """Wide residual network of depth 6n+4; WRN-16-2 has n = 2 and widening 2."""

    def __init__(self, plan: Architecture, channels: int, classes: int) -> None:
        super().__init__()
        width = 16
        self.conv1 = convolution(channels, width, 3)
        blocks = []
        for stage, (depth, outputs) in enumerate(zip(plan.depths, plan.widths, strict=True)):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(WideBlock(width, outputs, stride, plan.norm))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.bn = norm_layer(plan.norm, width)
        self.fc = nn.Linear(width, classes)

    def trunk(self, images: Float[Tensor, "batch channel height width"]) -> Tensor:
        """Feature maps of the last stage."""
        return functional.relu(self.bn(self.blocks(self.conv1(images))))
