"""With how many digits networks compute: bfloat16 where hardware is made for it, else fp32.

bfloat16 reaches the networks alone. What is solved, summed or drawn around them keeps fp32, and
so do the student's weights and their updates.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from envoi.settings import Precision


def is_lowered(precision: Precision, device: torch.device) -> bool:
    """Whether networks compute in bfloat16: as told, or if left open, on a GPU that can."""
    if precision != "auto":
        return precision == "bf16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def settled(precision: Precision, device: torch.device) -> Precision:
    """What is computed in on a device, where it was left open too."""
    return "bf16" if is_lowered(precision, device) else "fp32"


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run networks in this precision; fp32 means it: GPUs do not round it to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(
            device.type, torch.bfloat16, enabled=is_lowered(precision, device), cache_enabled=False
        ):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Take a part of a computation out of `computing`: it keeps fp32."""
    with torch.autocast(device.type, enabled=False):
        yield
