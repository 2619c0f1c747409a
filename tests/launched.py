"""Python and torchrun in processes of their own, with the source at hand."""

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def python(*words, cwd):
    """Run and return what it printed and how it ended."""
    source = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
