"""What a piece of work costs: wall time and peak memory."""

import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import envoi

if TYPE_CHECKING:
    import torch

_MEMORY_RESET = Path("/proc/self/clear_refs")
_MEMORY_STATUS = Path("/proc/self/status")


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
