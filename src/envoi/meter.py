"""What a piece of work costs: wall time, peak memory, and arithmetic."""

import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import envoi

if TYPE_CHECKING:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

_MEMORY_RESET = Path("/proc/self/clear_refs")
_MEMORY_STATUS = Path("/proc/self/status")
_Shape = Sequence[int]


@dataclass(slots=True)
class Cost:
    """Filled in when the metered block ends.

    Attributes:
        wall_seconds: Wall time of the block.
        peak_bytes: Peak memory while it ran: allocated memory of the GPU that was metered, else
            the resident set of the whole process (Python and libraries included).
    """

    wall_seconds: float = 0.0
    peak_bytes: int = 0


@contextmanager
def metered(device: "torch.device | None" = None) -> Iterator[Cost]:
    """Measure the block, which computes on `device` (None is the CPU)."""
    cost = Cost()
    _reset_peak(device)
    began = time.monotonic()
    try:
        yield cost
    finally:
        peak_bytes = _peak_bytes(device)  # first: it waits for the GPU
        cost.wall_seconds = time.monotonic() - began
        cost.peak_bytes = peak_bytes


def flop_counter() -> "FlopCounterMode":
    """Counts arithmetic while it is active, attention on the CPU too.

    PyTorch's own counter (2.13) knows attention's kernels of GPUs alone. A multiplication and an
    addition count as two; `get_total_flops()` tells the sum.
    """
    import torch  # noqa: PLC0415  (this module must load without torch)
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    aten = torch.ops.aten
    return FlopCounterMode(
        display=False,
        custom_mapping={
            aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop,  # noqa: SLF001
            aten._scaled_dot_product_flash_attention_for_cpu_backward: (  # noqa: SLF001
                _attention_backward_flop
            ),
        },
    )


def _attention_flop(query: _Shape, key: _Shape, value: _Shape, *_: object, **__: object) -> int:
    """Of queries by keys, and of weights by values; shapes are (batch, head, place, channel)."""
    batch, heads, asking, width = query
    return 2 * batch * heads * asking * key[2] * (width + value[3])


def _attention_backward_flop(
    _gradient: _Shape, query: _Shape, key: _Shape, value: _Shape, *_: object, **__: object
) -> int:
    """Weights are computed again; then two products for what either product had put in."""
    batch, heads, asking, width = query
    return 2 * batch * heads * asking * key[2] * (3 * width + 2 * value[3])


def device_name(device: "torch.device | None" = None) -> str:
    """The processor (None) or accelerator, as people call it."""
    import torch  # noqa: PLC0415  (this module must load without torch)

    if device is not None and device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if _MEMORY_STATUS.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else 'CPU'}, {torch.get_num_threads()} threads"


def environment(device: "torch.device | None" = None) -> dict[str, str]:
    """Versions and device: what a reader needs to judge figures. No host or user name."""
    import torch  # noqa: PLC0415  (this module must load without torch)

    return {
        "envoi": envoi.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device_name(device),
    }


def _reset_peak(device: "torch.device | None") -> None:
    if device is not None and device.type == "cuda":
        import torch  # noqa: PLC0415  (this module must load without torch)

        torch.cuda.reset_peak_memory_stats(device)
    elif _MEMORY_RESET.exists():
        _MEMORY_RESET.write_text("5")  # Linux: forget the highest resident set so far.


def _peak_bytes(device: "torch.device | None") -> int:
    if device is not None and device.type == "cuda":
        import torch  # noqa: PLC0415  (this module must load without torch)

        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device))
    if _MEMORY_STATUS.exists():
        for line in _MEMORY_STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # noqa: PLC0415  (not on Windows)

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
