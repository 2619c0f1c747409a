"""Predicted peak memory of every 3D model: sampling a volume, and training with one item a step.

    python benchmarks/mri_memory.py --out benchmarks/results/mri/memory.csv

Predictions are of tensors (`envoi.mri.memory`); `measured_bytes` is empty until a process is
measured.
"""

import argparse
import csv
from io import StringIO
from pathlib import Path

from envoi.files import write_text
from envoi.mri.memory import Use, predicted_bytes
from envoi.mri.modes import plan_of

COLUMNS = ("model", "size", "phase", "precision", "device", "predicted_bytes", "measured_bytes")
MODES = ("joint", "paper", "full3d", "wavelet3d")


def main() -> None:
    """Predict every case; the file is written at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="64,96,128,224")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for mode in MODES:
        for size in map(int, options.sizes.split(",")):
            plan = plan_of(mode, (size, size, size), {})
            for phase in ("sample", "train"):
                peak = predicted_bytes(plan, Use(phase))
                table.writerow((mode, size, phase, "fp32", "any", peak, ""))
                print(f"{mode} {size} {phase}: {peak / 2**30:.3f} GiB", flush=True)
    write_text(options.out, text.getvalue())


if __name__ == "__main__":
    main()
