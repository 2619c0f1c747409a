"""Several processes that distil one student together, as torchrun starts them.

All hold the same bank and the same student. Each asks the networks about its share of the bank,
and learns its share of every batch; sums make the rest. Answers are those of one process exactly.
Weights are within float error: gradients are summed, and batch norm takes its statistics over the
whole batch by sums of its own, as `SyncBatchNorm` does not work on CPUs and statistics of a share
alone would be those of another, smaller batch.

The run folder must be seen by all processes; only the first one writes.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from envoi.errors import Problem, SettingsError
from envoi.networks.classifier import batch_norm_layers

Shared = TypeVar("Shared", Tensor, Sequence[Tensor])


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that work together; the default is one alone."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and talks."""
        return self.rank == 0

    def share(self, whole: Shared) -> Shared:
        """Every `count`-th item, from this process' own rank on."""
        return whole[self.rank :: self.count]

    def summed(self, own: Tensor) -> Tensor:
        """The sum over all processes, the same bits at each."""
        if self.count == 1:
            return own
        total = own.detach().contiguous().clone()
        distributed.all_reduce(total)
        return total

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Each gradient becomes its sum over all processes."""
        for parameter in parameters:
            if self.count > 1 and parameter.grad is not None:
                parameter.grad.copy_(self.summed(parameter.grad))

    def require(self, work: int, *, what: str, least: int = 1) -> None:
        """Make sure that every process has something to do.

        Raises:
            SettingsError: There are fewer than `least` of it for each.
        """
        if work < least * self.count:
            expected = f"{least * self.count} or more for {self.count} processes"
            raise SettingsError(Problem(expected, f"{work}", what, "Start fewer processes."))

    @contextmanager
    def shared_batch_norm(self, network: nn.Module) -> Iterator[None]:
        """Let batch norm in training see the whole batch while each process has a share of it."""
        layers = batch_norm_layers(network) if self.count > 1 else []
        for layer in layers:
            layer.forward = partial(_normalised, layer, self)  # type: ignore[method-assign]
        try:
            yield
        finally:
            for layer in layers:
                del layer.forward


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes of `torchrun`, which find one another; without it, one alone.

    Each takes a GPU of its own, where there are some.
    """
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield Processes()
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo")
    try:
        yield current_processes()
    finally:
        distributed.destroy_process_group()


def current_processes() -> Processes:
    """Those that have joined."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Processes()
    return Processes(distributed.get_rank(), distributed.get_world_size())


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
