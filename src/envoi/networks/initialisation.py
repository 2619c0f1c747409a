"""Initial weights from a seed, the same everywhere."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from envoi.networks.architecture import Architecture, Family
from envoi.networks.classifier import Classifier
from envoi.networks.resnet import ResNet, WideResNet
from envoi.networks.vgg import VGG
from envoi.seeding import torch_generator

_FAMILIES: dict[Family, Callable[[Architecture, int, int], Classifier]] = {
    Family.RESNET: ResNet,
    Family.WIDE_RESNET: WideResNet,
    Family.VGG: VGG,
}


def initialised(plan: Architecture, *, channels: int, classes: int, seed: int) -> Classifier:
    """A network whose weights are a function of the arguments alone."""
    network = skeleton(plan, channels=channels, classes=classes).to_empty(device="cpu")
    with torch.no_grad():
        for name, module in network.named_modules():
            _reset(module, torch_generator(seed, "initialisation", name))
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def skeleton(plan: Architecture, *, channels: int, classes: int) -> Classifier:
    """The network without storage: its names and shapes, at no cost in memory."""
    with torch.device("meta"):
        return _FAMILIES[plan.family](plan, channels, classes)


def state_shapes(plan: Architecture, *, channels: int, classes: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all that a trained network consists of, in state-dictionary order.

    Batch norm's batch counters are left out: nothing reads them.
    """
    state = skeleton(plan, channels=channels, classes=classes).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if tensor.dim() > 0}


def load_trained(network: Classifier, state: dict[str, Tensor]) -> Classifier:
    """Give `network` a whole trained state (without batch counters), in place."""
    counters = {n: t for n, t in network.state_dict().items() if t.dim() == 0}
    network.load_state_dict({**counters, **state}, strict=True)
    return network


def _reset(module: nn.Module, generator: torch.Generator) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(
            module.weight, mode="fan_out", nonlinearity="relu", generator=generator
        )
    elif isinstance(module, nn.Linear):
        bound = 1 / math.sqrt(module.in_features)
        nn.init.uniform_(module.weight, -bound, bound, generator=generator)
        nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()
    elif isinstance(module, nn.GroupNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
