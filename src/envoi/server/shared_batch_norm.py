"""Batch norm over the images of several processes that distil one student together.

Each process learns its share of every batch. Batch norm takes its statistics over the whole batch
by sums of its own, as `SyncBatchNorm` does not work on CPUs and statistics of a share alone would
be those of another, smaller batch. Weights are within float error of those of one process.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.networks.classifier import batch_norm_layers
from envoi.processes import Processes


@contextmanager
def shared_batch_norm(network: nn.Module, processes: Processes) -> Iterator[None]:
    """Let batch norm in training see the whole batch while each process has a share of it."""
    layers = batch_norm_layers(network) if processes.count > 1 else []
    for layer in layers:
        layer.forward = partial(_normalised, layer, processes)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class _Summed(torch.autograd.Function):
    """A sum over processes, and over their gradients on the way back."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: Processes) -> Tensor:  # noqa: ANN401
        ctx.processes = processes
        return processes.summed(own)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        return ctx.processes.summed(gradient), None


def _summed(own: Tensor, processes: Processes) -> Tensor:
    total: Tensor = _Summed.apply(own, processes)  # type: ignore[no-untyped-call]
    return total


def _normalised(
    layer: nn.BatchNorm2d, processes: Processes, images: Float[Tensor, "batch channel y x"]
) -> Float[Tensor, "batch channel y x"]:
    """`nn.BatchNorm2d.forward` with the mean and variance of all processes' images."""
    if not layer.training:
        return nn.BatchNorm2d.forward(layer, images)
    values, axes, shape = images.float(), (0, 2, 3), (1, -1, 1, 1)
    pixels = processes.summed(torch.tensor(float(images[:, 0].numel()), device=images.device))
    mean = _summed(values.sum(axes), processes) / pixels
    centred = values - mean.view(shape)
    variance = _summed(centred.square().sum(axes), processes) / pixels
    with torch.no_grad():
        momentum, kept = cast("float", layer.momentum), dict(layer.named_buffers())
        kept["running_mean"].lerp_(mean, momentum)
        kept["running_var"].lerp_(variance * pixels / (pixels - 1), momentum)
        kept["num_batches_tracked"].add_(1)
    scale = layer.weight * (variance + layer.eps).rsqrt()
    return centred * scale.view(shape) + layer.bias.view(shape)
