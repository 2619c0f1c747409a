"""What a piece of work costs: wall time and peak memory."""

import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import envoi

_MEMORY_RESET = Path("/proc/self/clear_refs")
_MEMORY_STATUS = Path("/proc/self/status")


@dataclass(slots=True)
class Cost:
    """Filled in when the metered block ends.

    Attributes:
        wall_seconds: Wall time of the block.
        peak_bytes: Peak memory while it ran: allocated device memory where a GPU was used, else
            the resident set of the whole process (Python and libraries included).
    """

    wall_seconds: float = 0.0
    peak_bytes: int = 0


@contextmanager
def metered() -> Iterator[Cost]:
    """Measure the block."""
    cost = Cost()
    _reset_peak()
    began = time.monotonic()
    try:
        yield cost
    finally:
        cost.wall_seconds = time.monotonic() - began
        cost.peak_bytes = _peak_bytes()


def device_name() -> str:
    """The processor or accelerator that torch computes on, as people call it."""
    import torch  # noqa: PLC0415  (this module must load without torch)

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if _MEMORY_STATUS.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else 'CPU'}, {torch.get_num_threads()} threads"


def environment() -> dict[str, str]:
    """Versions and device: what a reader needs to judge figures. No host or user name."""
    import torch  # noqa: PLC0415  (this module must load without torch)

    return {
        "envoi": envoi.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device_name(),
    }


def _reset_peak() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif _MEMORY_RESET.exists():
        _MEMORY_RESET.write_text("5")  # Linux: forget the highest resident set so far.


def _peak_bytes() -> int:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if _MEMORY_STATUS.exists():
        for line in _MEMORY_STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # noqa: PLC0415  (not on Windows)

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
