"""`--device`: which processor or accelerator a command computes on."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch

DeviceOption = Annotated[
    str, typer.Option("--device", help="auto (a GPU if there is one), cpu or cuda.")
]


def device_called(name: str) -> "torch.device":
    """The device that `--device` names.

    Raises:
        SettingsError: There is no such device, here or anywhere.
    """
    from envoi.errors import Problem, SettingsError

    if name not in {"auto", "cpu", "cuda"}:
        found, remedy = repr(name)[:80], "Leave --device out, or use cpu."
        raise SettingsError(Problem("auto, cpu or cuda", found, "--device", remedy))
    import torch

    from envoi.networks.classifier import chosen_device

    if name == "cuda" and not torch.cuda.is_available():
        expected, remedy = "a GPU that PyTorch can use", "Leave --device out, or use cpu."
        raise SettingsError(Problem(expected, "none", "--device", remedy))
    return chosen_device(None if name == "auto" else torch.device(name))
