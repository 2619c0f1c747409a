"""In which precision networks compute: fp32, or bf16 where the hardware is fast at it."""

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def resolved_precision(wanted: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """`auto` is bf16 on GPUs that support it, and fp32 everywhere else."""
    if wanted != "auto":
        return wanted
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return "bf16" if fast else "fp32"


def computing(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Networks called inside compute in that precision; weights and losses stay fp32."""
    half = resolved_precision(precision, device) == "bf16"
    context: AbstractContextManager[None] = torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=half
    )
    return context
