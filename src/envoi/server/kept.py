"""Where a site's network is kept: in memory, or in its file until somebody asks.

Networks are what a server's memory goes into: fifty of 11 million weights take 2.2 GB, their
moments and counts a few MB. What asks them one after another needs the memory of one.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from envoi.networks.classifier import Classifier, device_of, freeze
from envoi.study import Study
from envoi.submission import Submission, build_network

CPU = torch.device("cpu")


@runtime_checkable
class Kept(Protocol):
    """A frozen network that can be had."""

    @property
    def device(self) -> torch.device:
        """Where the network lives when it is had."""
        ...

    def network(self) -> Classifier:
        """The network; whoever asks holds it as long as needed."""
        ...

    def on(self, device: torch.device) -> "Kept":
        """The same network on `device`; this one stays where it is."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A network in memory, frozen from now on."""

    held: Classifier

    def __post_init__(self) -> None:
        freeze(self.held)

    @property
    def device(self) -> torch.device:
        """See `Kept.device`."""
        return device_of(self.held)

    def network(self) -> Classifier:
        """See `Kept.network`: always the same object."""
        return self.held

    def on(self, device: torch.device) -> "Held":
        """See `Kept.on`."""
        return Held(copy.deepcopy(self.held).to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Filed:
    """A network in a submission's file.

    Attributes:
        opened: Reads the file, verifying it again.
        study: That it belongs to.
        device: Where the network lives once it is read.
    """

    opened: Callable[[], Submission]
    study: Study
    device: torch.device = CPU

    def network(self) -> Classifier:
        """See `Kept.network`: read anew at each call, and gone when nobody holds it."""
        network = build_network(self.opened(), self.study).to(self.device)
        freeze(network)
        return network

    def on(self, device: torch.device) -> "Filed":
        """See `Kept.on`."""
        return replace(self, device=device)


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """Kept networks by number; it holds none of them itself."""

    kept: tuple[Kept, ...]

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> nn.Module:
        return self.kept[index].network()
