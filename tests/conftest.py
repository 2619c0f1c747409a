"""Fixtures that several rooms share. Shapes and types are checked at run time."""

# ruff: noqa: E402  (the import hook has to come before the imports it hooks into)

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

import tests.typecheck  # noqa: F401  (named below)

install_import_hook("envoi", "tests.typecheck.checked").__enter__()

import pytest
import torch

from envoi.networks import build
from envoi.networks.descriptor import Descriptor
from envoi.seeding import torch_generator
from envoi.server.kept import Held
from envoi.server.teacher import Teacher, Teachers
from envoi.site.moments import feature_moments
from envoi.submission import Moments
from envoi.types import ImageSpec

TINY_CLASSES = ("a", "b", "c")


def make_teachers(
    counts: tuple[tuple[int, ...], ...] = ((30, 10, 0), (5, 20, 20), (0, 10, 40)),
    *,
    architecture: str = "resnet10-small",
    size_px: int = 8,
    channels: int = 3,
    moments: bool = True,
) -> Teachers:
    """Tiny sites (three, if nothing else is asked for) whose batch norm saw different images."""
    members = []
    for number, own in enumerate(counts, start=1):
        network = build(architecture, channels=channels, classes=3, seed=0)
        generator = torch_generator(number, "images")
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
            for _ in range(3):
                network(number + torch.randn(16, channels, size_px, size_px, generator=generator))
        told = make_moments(own, number, channels=channels, size_px=size_px) if moments else None
        site = f"site-{number:02d}" if len(counts) > 9 else f"site-{number}"
        members.append(Teacher(site, architecture, Held(network), TINY_CLASSES, own, told))
    return Teachers(tuple(members), ImageSpec.of(channels, size_px))


def make_moments(
    counts: tuple[int, ...], number: int, *, channels: int = 3, size_px: int = 8
) -> Moments:
    """Of as many images as a site counts, each class of its own brightness."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    generator = torch_generator(number, "moments")
    noise = torch.randn(len(labels), channels, size_px, size_px, generator=generator)
    images = 0.2 * noise + 0.3 * (labels[:, None, None, None] - 1)
    features = Descriptor(channels, size_px)(images.clamp(-1, 1)).numpy()
    return feature_moments(
        features, labels.numpy(), classes=len(counts), minimum=1, minimum_covariance=20
    )


@pytest.fixture
def teachers() -> Teachers:
    return make_teachers()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(12, 3, 8, 8, generator=torch_generator(0, "test images"))
