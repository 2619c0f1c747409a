"""Noise-adapted teachers: what FedISCA asks about images that still look like noise.

Batch norm with a site's own statistics is at a loss on noise, so early in the synthesis the
student also learns from adapted teachers. Three variants (METHODS section 2):

- `BATCH`, as released: the site's weights with the statistics of each batch. No sweep.
- `EMA`, in the paper's words: running statistics are updated with momentum 0.1 from the realistic
  images back to the noise, and then read. Needs the whole path of images, so memory grows as
  steps x batch x channels x height x width x 4 bytes.
- `NONE`: no adapted teachers.
"""

from collections.abc import Sequence
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.networks.classifier import batch_norm_layers
from envoi.networks.statistics import reading_batch_statistics, weight_sharing_copy

Images = Float[Tensor, "batch channel height width"]


class Adaptation(StrEnum):
    """Which noise-adapted teachers are used."""

    BATCH = "batch"
    EMA = "ema"
    NONE = "none"


def adapted_networks(networks: Sequence[nn.Module], adaptation: Adaptation) -> list[nn.Module]:
    """The noise-adapted twin of each network, where no path of images is needed."""
    if adaptation is Adaptation.BATCH:
        return [reading_batch_statistics(network) for network in networks]
    return list(networks)


def adapted_to_path(networks: Sequence[nn.Module], path: Sequence[Images]) -> list[nn.Module]:
    """Twins whose running statistics were swept from realistic to noise, for reading.

    Args:
        networks: Teachers; they are not changed.
        path: Images from noise to realistic.
    """
    return [_swept(network, path) for network in networks]


def _swept(network: nn.Module, path: Sequence[Images]) -> nn.Module:
    twin = weight_sharing_copy(network)
    for layer in batch_norm_layers(twin):
        layer.momentum = 0.1
        layer.train()
    with torch.no_grad():
        for images in reversed(path):
            twin(images)
    return twin.eval()
