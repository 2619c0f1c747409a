"""What distinguishes one network from another: a description without weights or torch."""

from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """The block that a network is made of."""

    RESNET = "resnet"
    WIDE_RESNET = "wide-resnet"
    VGG = "vgg"


class Norm(StrEnum):
    """What normalises activations."""

    BATCH = "batch"
    GROUP = "group"


class Stem(StrEnum):
    """How images enter: 3x3 stride 1 (small images), or 7x7 stride 2 with max-pooling."""

    SMALL = "small"
    LARGE = "large"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network up to its image channels, classes and weights.

    Attributes:
        family: The kind of block.
        depths: Blocks (convolutions for VGG) of each stage.
        widths: Channels of each stage.
        stem: How images enter.
        norm: What normalises activations.
    """

    family: Family
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem: Stem
    norm: Norm = Norm.BATCH
