"""What a batch of images looks like to all teachers: their logits, and how odd it seems to each.

Two ways to compute the same: `Looped`, one network after another, and `Stacked`, which turns
many small kernels into few large ones by `torch.func`. Stacking pays on GPUs; on CPUs the loop
is as fast and needs less memory.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from envoi.networks.classifier import batch_norm_layers, device_of
from envoi.networks.statistics import ChannelStats, seen_statistics, stored_statistics
from envoi.server.synthesis.losses import statistics_loss
from envoi.server.teacher import SiteLogits, Teachers

Images = Float[Tensor, "batch channel height width"]
Distances = Float[Tensor, " site"]


@runtime_checkable
class View(Protocol):
    """All networks, asked together.

    Attributes:
        layers: Batch-norm layers of all of them.
    """

    layers: int

    def __call__(self, images: Images) -> tuple[SiteLogits, Distances]:
        """Every network's logits, and the distance of its statistics from the stored ones."""
        ...


def view_of(teachers: Teachers) -> View:
    """The faster of the two on the teachers' device (group norm cannot be stacked yet)."""
    networks = [member.network for member in teachers.members]
    alike = len({member.architecture for member in teachers.members}) == 1
    on_gpu = device_of(networks[0]).type == "cuda"
    stackable = alike and bool(batch_norm_layers(networks[0]))
    return Stacked(networks) if stackable and on_gpu else Looped(networks)


class Looped:
    """One network after another; they may differ in architecture."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self._networks = list(networks)
        self.layers = sum(len(batch_norm_layers(network)) for network in networks)
        self._stored = [stored_statistics(network) for network in networks]

    def __call__(self, images: Images) -> tuple[SiteLogits, Distances]:
        """Every network's logits, and the distance of its statistics from the stored ones."""
        logits, distances = [], []
        for network, stored in zip(self._networks, self._stored, strict=True):
            with seen_statistics(network) as seen:
                logits.append(network(images))
            distances.append(statistics_loss(seen, stored).to(images.device))
        return torch.stack(logits), torch.stack(distances)


class Stacked:
    """Networks of one architecture as one function, their weights stacked when it is built."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self._template = networks[0]
        parameters, buffers = stack_module_state(list(networks))
        self._state = {**parameters, **buffers}
        layers = set(batch_norm_layers(self._template))
        self._layers = [name for name, module in self._template.named_modules() if module in layers]
        self.layers = len(self._layers) * len(networks)

    def __call__(self, images: Images) -> tuple[SiteLogits, Distances]:
        """Every network's logits, and the distance of its statistics from the stored ones."""
        return vmap(self._one, in_dims=(0, None))(self._state, images)

    def _one(self, state: dict[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
        with seen_statistics(self._template) as seen:
            logits = functional_call(self._template, state, (images,))
        stored = [
            ChannelStats(state[f"{name}.running_mean"], state[f"{name}.running_var"])
            for name in self._layers
        ]
        return logits, statistics_loss(seen, stored)
