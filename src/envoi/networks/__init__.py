"""Classifiers that sites train and the server distils, by name.

`ARCHITECTURES` is the one list of names; `build` makes a network from a name and a seed, so
that every site of a study starts from the same weights. Loads torch only when called.
"""

from typing import TYPE_CHECKING

from envoi.errors import Problem, StudyError
from envoi.networks.architecture import Architecture, Family, Norm, Stem

if TYPE_CHECKING:
    from envoi.networks.classifier import Classifier

ARCHITECTURES: dict[str, Architecture] = {
    "convnet-small": Architecture(Family.VGG, (1, 1, 1), (24, 48, 96), Stem.SMALL),
    "resnet10-small": Architecture(Family.RESNET, (1, 1, 1, 1), (16, 32, 64, 128), Stem.SMALL),
    "resnet10-small-gn": Architecture(
        Family.RESNET, (1, 1, 1, 1), (16, 32, 64, 128), Stem.SMALL, Norm.GROUP
    ),
    "resnet18": Architecture(Family.RESNET, (2, 2, 2, 2), (64, 128, 256, 512), Stem.SMALL),
    "resnet18-gn": Architecture(
        Family.RESNET, (2, 2, 2, 2), (64, 128, 256, 512), Stem.SMALL, Norm.GROUP
    ),
    "resnet18-imagenet": Architecture(Family.RESNET, (2, 2, 2, 2), (64, 128, 256, 512), Stem.LARGE),
    "resnet34": Architecture(Family.RESNET, (3, 4, 6, 3), (64, 128, 256, 512), Stem.SMALL),
    "resnet34-imagenet": Architecture(Family.RESNET, (3, 4, 6, 3), (64, 128, 256, 512), Stem.LARGE),
    "wrn-16-2": Architecture(Family.WIDE_RESNET, (2, 2, 2), (32, 64, 128), Stem.SMALL),
    "wrn-16-2-gn": Architecture(
        Family.WIDE_RESNET, (2, 2, 2), (32, 64, 128), Stem.SMALL, Norm.GROUP
    ),
    "vgg8": Architecture(Family.VGG, (1, 1, 1, 1, 1), (64, 128, 256, 512, 512), Stem.SMALL),
    "vgg11": Architecture(Family.VGG, (1, 1, 2, 2, 2), (64, 128, 256, 512, 512), Stem.SMALL),
}


def architecture(name: str) -> Architecture:
    """The architecture called `name`.

    Raises:
        StudyError: There is none of that name.
    """
    if name not in ARCHITECTURES:
        raise StudyError(
            Problem(
                f"one of {', '.join(ARCHITECTURES)}",
                repr(name),
                "architecture",
                "Choose a known architecture.",
            )
        )
    return ARCHITECTURES[name]


def build(name: str, *, channels: int, classes: int, seed: int) -> "Classifier":
    """A freshly initialised network; equal arguments give equal weights, bit for bit.

    Args:
        name: A key of `ARCHITECTURES`.
        channels: Image channels, 1 or 3.
        classes: Number of classes.
        seed: The study's seed of the shared initialisation.

    Raises:
        StudyError: There is no architecture of that name.
    """
    from envoi.networks.initialisation import initialised  # noqa: PLC0415  (loads torch)

    return initialised(architecture(name), channels=channels, classes=classes, seed=seed)


__all__ = ["ARCHITECTURES", "Architecture", "Family", "Norm", "Stem", "architecture", "build"]
