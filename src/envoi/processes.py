"""Several processes that work on one thing together, as torchrun starts them.

All hold the same state. Each does its share of a step; sums make the rest. The run folder must be
seen by all processes; only the first one writes.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from envoi.errors import Problem, SettingsError

Shared = TypeVar("Shared", Tensor, Sequence[Tensor], range)


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
