"""Peak memory of every 3D model, predicted and measured: sampling a volume, and training.

    python benchmarks/mri_memory.py --out benchmarks/results/mri/memory.csv --limit-gib 11

Training has one item a step. Predictions are of tensors (`envoi.mri.memory`). Each case that is
predicted to stay under the limit is measured in a process of its own: by how much its resident
memory grows while it samples with one step of the solver, or trains for two steps on one volume,
after a small model of its kind has loaded the libraries' code. `measured_bytes` of the others is
empty. What the file has measured before is kept, unless its prediction has changed since.
"""

import argparse
import csv
import gc
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from io import StringIO
from pathlib import Path

import torch

from envoi.files import write_text
from envoi.meter import metered
from envoi.mri.memory import Use, predicted_bytes
from envoi.mri.model import VolumeModel
from envoi.mri.modes import model_of, plan_of
from envoi.mri.population import Population
from envoi.mri.training import MriTraining, train

MODES = ("joint", "paper", "full3d", "wavelet3d")
WARM_UP_SIZE = 32
# glibc gives large blocks back to the system only where it has mapped them one by one.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    model: str
    size: int
    phase: str
    precision: str
    device: str
    predicted_bytes: int
    measured_bytes: int | None

    @property
    def case(self) -> tuple[str, int, str]:
        """What was measured."""
        return self.model, self.size, self.phase


def main() -> None:
    """Predict and measure every case; the file is written after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--sizes", default="64,96,128,224")
    parser.add_argument("--limit-gib", type=float, default=0.0, help="0 measures nothing.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", help="One case, MODE,SIZE,PHASE: print its bytes.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.measure:
        mode, size, phase = options.measure.split(",")
        use_model(mode, WARM_UP_SIZE, phase)
        print(grown_bytes(mode, int(size), phase))
        return
    if options.out is None:
        parser.error("--out is needed")
    rows = {row.case: row for row in rows_of(options.out)}
    for mode in options.modes.split(","):
        for size in map(int, options.sizes.split(",")):
            for phase in ("sample", "train"):
                predicted = predicted_bytes(plan_of(mode, (size, size, size), {}), Use(phase))
                before = rows.get((mode, size, phase))
                found = None
                if before is not None and before.predicted_bytes == predicted:
                    found = before.measured_bytes
                if found is None and predicted < options.limit_gib * 2**30:
                    found = measured_apart(mode, size, phase)
                row = Row(mode, size, phase, "fp32", "cpu", predicted, found)
                rows[row.case] = row
                print(row, "" if found is None else f"{found / predicted:.3f}", flush=True)
                write_text(options.out, as_csv(rows.values()))


def measured_apart(mode: str, size: int, phase: str) -> int:
    """The bytes of one case, in a process of its own."""
    words = [sys.executable, __file__, "--measure", f"{mode},{size},{phase}"]
    done = subprocess.run(
        words, env=os.environ | ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout)


def grown_bytes(mode: str, size: int, phase: str) -> int:
    """By how much the most resident memory exceeds that before there is a model."""
    gc.collect()
    with metered() as idle:
        pass
    with metered() as busy:
        use_model(mode, size, phase)
    return busy.peak_bytes - idle.peak_bytes


def use_model(mode: str, size: int, phase: str) -> None:
    """What a prediction is about, with the code that users run."""
    shape = (size, size, size)
    model, generator = model_of(plan_of(mode, shape, {})), torch.Generator().manual_seed(0)
    if phase == "sample":
        model.eval().draw(torch.zeros(1, 2), steps=1, generator=generator)
        return
    population = Population(torch.zeros(1, *shape, dtype=torch.half), torch.zeros(1, 2))
    if type(model).heaviest_losses is not VolumeModel.heaviest_losses:
        model.losses = model.heaviest_losses  # type: ignore[method-assign]
    train(model, population, MriTraining.of_mode(mode, steps=2, batch=1, precision="fp32"))


def rows_of(file: Path) -> Iterator[Row]:
    """The rows of a file that is there."""
    if file.exists():
        for line in csv.DictReader(file.read_text().splitlines()):
            measured = int(line["measured_bytes"]) if line["measured_bytes"] else None
            yield Row(
                line["model"],
                int(line["size"]),
                line["phase"],
                line["precision"],
                line["device"],
                int(line["predicted_bytes"]),
                measured,
            )


def as_csv(rows: Iterable[Row]) -> str:
    """With a header; what was not measured is empty."""
    text = StringIO()
    table = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(row) for row in rows)
    return text.getvalue()


if __name__ == "__main__":
    main()
