"""Per-channel statistics of what enters each batch-norm layer.

A site's batch-norm buffers tell the mean and variance of its activations over its images
(DeepInversion, arXiv:1912.08795); here are both sides of that comparison, and networks whose
batch norm reads the statistics of the batch in place of the site's.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.networks.classifier import batch_norm_layers


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """Mean and biased variance of each channel over batch and space."""

    mean: Float[Tensor, " channel"]
    variance: Float[Tensor, " channel"]


def stored_statistics(network: nn.Module) -> list[ChannelStats]:
    """The running statistics of every batch-norm layer, input order."""
    found = []
    for layer in batch_norm_layers(network):
        mean, variance = layer.running_mean, layer.running_var
        if mean is not None and variance is not None:
            found.append(ChannelStats(mean, variance))
    return found


@contextmanager
def seen_statistics(network: nn.Module) -> Iterator[list[ChannelStats]]:
    """Collect, in input order, the statistics that each forward pass causes.

    The list is filled while the context is open; clear it between passes.
    """
    seen: list[ChannelStats] = []

    def collect(_: nn.Module, inputs: tuple[Tensor]) -> None:
        seen.append(channel_statistics(inputs[0]))

    hooks = [layer.register_forward_pre_hook(collect) for layer in batch_norm_layers(network)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def reading_batch_statistics(network: nn.Module) -> nn.Module:
    """A twin that shares the weights and normalises by the statistics of each batch.

    What training mode computes, without its updates: the twin's output does not depend on the
    running statistics and running it changes nothing.
    """
    twin = weight_sharing_copy(network)
    for layer in batch_norm_layers(twin):
        layer.track_running_stats = False
        layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    return twin


def weight_sharing_copy(network: nn.Module) -> nn.Module:
    """A copy with its own buffers and the very same parameters."""
    return copy.deepcopy(network, {id(p): p for p in network.parameters()})


def channel_statistics(maps: Float[Tensor, "batch channel height width"]) -> ChannelStats:
    """Mean and biased variance of each channel over batch and space, differentiable once."""
    mean, variance, _ = _ChannelMoments.apply(maps)  # type: ignore[no-untyped-call]
    return ChannelStats(mean, variance)


class _ChannelMoments(torch.autograd.Function):
    """`torch.var_mean` over batch and space, several times faster on channels-last maps.

    The gradient of mean and variance is one affine map of the deviations, so backward needs
    one pass over them and no chain of intermediate results.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = maps.permute(0, 2, 3, 1).flatten(0, 2)
        mean = rows.mean(dim=0)
        deviations = rows - mean
        return mean, deviations.square().mean(dim=0), deviations

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, ...]) -> None:  # noqa: ANN401
        ctx.shape = inputs[0].shape
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(output[2])

    @staticmethod
    def backward(ctx: Any, to_mean: Tensor, to_variance: Tensor, _: Tensor) -> Tensor:  # noqa: ANN401
        (deviations,) = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        rows: Tensor = (to_mean + 2 * to_variance * deviations) / len(deviations)
        return rows.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
