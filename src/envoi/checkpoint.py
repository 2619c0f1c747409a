"""Checkpoints of long jobs: killed at any step, resumed to the same bits.

A checkpoint is one safetensors file of everything that a loop carries from one step to the
next. It is bound to the job's settings by a fingerprint, so that a changed job starts anew
with an error and not with the wrong state.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from envoi.errors import Problem, SettingsError, StorageError
from envoi.files import write_bytes

State = dict[str, Tensor]


class Checkpoint:
    """Where a loop leaves its state.

    Args:
        path: The file, or None for a loop that is not resumed.
        fingerprint: Identifies the job; another job's file is refused.
        every_seconds: Least time between two writes; 0 writes at every step.

    Attributes:
        urgent: Set on the class: whether somebody waits for this process to stop. Every checkpoint
            is then written at its next offer, as a signal to the process means all its loops.
        earlier_seconds: Wall time that went into the loaded state, all attempts together.
    """

    urgent: ClassVar[bool] = False

    def __init__(
        self, path: Path | None = None, *, fingerprint: str = "", every_seconds: float = 20.0
    ) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.every_seconds = every_seconds
        self.earlier_seconds = 0.0
        self._written = self._began = time.monotonic()

    def load(self) -> State | None:
        """The saved state, or None when there is none; time is counted from here on.

        Raises:
            SettingsError: The file belongs to a job with other settings, or is damaged.
        """
        self._began = time.monotonic()
        if self.path is None or not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                told = file.metadata() or {}
                # Cloned: the mapped file is not aligned, and alignment may select other kernels.
                state = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as err:
            name = self.path.name
            remedy = "Remove it: the job starts anew."
            raise StorageError(Problem("a checkpoint", "a damaged file", name, remedy)) from err
        if told.get("fingerprint") != self.fingerprint:
            raise self._refused("the state of a job with other settings or inputs")
        self.earlier_seconds = float(told.get("seconds", 0))
        return state

    def offer(self, state: Callable[[], Mapping[str, Tensor]]) -> None:
        """Save `state()` if the last write is long enough ago, or somebody waits for it."""
        due = time.monotonic() - self._written >= self.every_seconds
        if self.path is not None and (due or Checkpoint.urgent):
            self.save(state())

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Save `state` now."""
        if self.path is None:
            return
        tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
        seconds = self.earlier_seconds + time.monotonic() - self._began
        told = {"fingerprint": self.fingerprint, "seconds": f"{seconds:.3f}"}
        write_bytes(self.path, save(tensors, metadata=told))
        self._written = time.monotonic()

    def clear(self) -> None:
        """Forget the state: the job is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _refused(self, found: str) -> SettingsError:
        name = self.path.name if self.path else "checkpoint"
        return SettingsError(
            Problem(
                "the checkpoint of this very job",
                found,
                name,
                "Restore the settings, or start anew in another folder.",
            )
        )


def pack(prefix: str, state: Mapping[str, Tensor]) -> State:
    """`state` with every key under `prefix`, copied so that later steps do not change it."""
    return {f"{prefix}/{key}": value.detach().clone() for key, value in state.items()}


def unpack(prefix: str, state: Mapping[str, Tensor]) -> State:
    """The part of `state` under `prefix`, with the prefix removed."""
    start = f"{prefix}/"
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}


def optimiser_state(optimiser: torch.optim.Optimizer) -> State:
    """The optimiser's tensors by parameter position, such as `3.exp_avg`."""
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, slots in optimiser.state_dict()["state"].items()
        for key, value in slots.items()
        if value is not None
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Give `optimiser` the tensors that `optimiser_state` took from its twin."""
    parameters = [p.detach() for group in optimiser.param_groups for p in group["params"]]
    slots: dict[int, State] = {}
    for name, value in state.items():
        index, key = name.split(".", 1)
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # In the memory order of its parameter: another order may round otherwise.
            value = torch.empty_like(parameter).copy_(value)  # noqa: PLW2901
        slots.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})


def restore_module(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a whole state dictionary; a missing or surplus key is an impossible state."""
    module.load_state_dict(dict(state), strict=True)
