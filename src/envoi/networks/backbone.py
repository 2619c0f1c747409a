"""A network's start from a checkpoint file with torchvision's names: safetensors, or torch's own.

Files of `torch.save` are read with `weights_only`, which takes tensors and containers and runs no
code of the file; all others are refused.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from envoi.errors import Problem, StudyError
from envoi.networks.classifier import Classifier

_TORCH = (".pth", ".pt")
_ENTRANCE = "conv1.weight"
_STATE = "state_dict"  # where training scripts keep it beside other things


def load_backbone(network: Classifier, path: Path) -> Classifier:
    """Start from a checkpoint, in place; a head of other size stays fresh.

    A network of grey images takes the sum of what a checkpoint of colour ones has for red, green
    and blue in its first convolution: so it answers a grey image as the checkpoint's network
    answers that image in three equal channels.

    Args:
        network: Of the study.
        path: A safetensors file, or a `.pth` or `.pt` of torch.

    Raises:
        StudyError: The file cannot be read, or a tensor is missing or of another shape.
    """
    given = _read(path)
    wanted = {name: t for name, t in network.state_dict().items() if t.dim() > 0}
    if _ENTRANCE in given and _ENTRANCE in wanted:
        given[_ENTRANCE] = _entrance(given[_ENTRANCE], wanted[_ENTRANCE])
    head_fits = all(
        name in given and given[name].shape == t.shape
        for name, t in wanted.items()
        if name.startswith("fc.")
    )
    needed = {n: t for n, t in wanted.items() if head_fits or not n.startswith("fc.")}
    problems = [
        Problem(
            f"{name} of shape {tuple(tensor.shape)}",
            "nothing" if name not in given else f"shape {tuple(given[name].shape)}",
            path.name,
            "Give a checkpoint of the study's architecture and channels.",
        )
        for name, tensor in needed.items()
        if name not in given or given[name].shape != tensor.shape
    ]
    if problems:
        raise StudyError(*problems[:5])
    network.load_state_dict({name: given[name] for name in needed}, strict=False)
    return network


def _entrance(given: Tensor, wanted: Tensor) -> Tensor:
    """Of colour images for grey ones; any other is left as it is."""
    if given.dim() == 4 and given.shape[1] == 3 and wanted.shape[1] == 1:
        return given.sum(dim=1, keepdim=True)
    return given


def _read(path: Path) -> dict[str, Tensor]:
    try:
        given: object = _read_torch(path) if path.suffix in _TORCH else load_file(path)
    except OSError as err:
        raise _unreadable(path, "no readable file") from err
    except Exception as err:  # readers raise whatever the bytes of a stranger lead to
        raise _unreadable(path, "another format, or more than tensors") from err
    if not isinstance(given, dict) or not all(isinstance(one, Tensor) for one in given.values()):
        raise _unreadable(path, "something else than named tensors")
    return dict(given)


def _read_torch(path: Path) -> object:
    found = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251  (tensors alone)
    if isinstance(found, dict) and isinstance(found.get(_STATE), dict):
        return found[_STATE]
    return found


def _unreadable(path: Path, found: str) -> StudyError:
    expected = "a checkpoint of tensors (safetensors, or torch's .pth)"
    remedy = "Give such a file; in torch, save the state dictionary alone."
    return StudyError(Problem(expected, found, path.name, remedy))
