"""A network in a file of its own, with a card that says what it is.

A safetensors file whose metadata has one key with the card as canonical JSON: safetensors writes
several keys in an order that changes from call to call.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from envoi.files import canonical_json, write_bytes


def write_carded(
    path: Path,
    network: nn.Module,
    *,
    key: str,
    card: Any,  # noqa: ANN401  (any dataclass)
) -> None:
    """Write a network and its card, a dataclass; equal ones give equal bytes.

    Raises:
        StorageError: The file cannot be written.
    """
    tensors = network.state_dict().items()
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors}
    write_bytes(path, save(state, metadata={key: canonical_json(asdict(card))}))


def card_text(path: Path, *, key: str) -> str:
    """The card's JSON; empty where a file has none.

    Raises:
        OSError: The file cannot be read.
        SafetensorError: It is no safetensors file.
    """
    with safe_open(path, framework="pt") as file:
        return str((file.metadata() or {}).get(key, ""))
