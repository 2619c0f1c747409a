"""Peak memory of every 3D model, predicted and measured: sampling a volume, and training.

    python benchmarks/mri_memory.py --out benchmarks/results/mri/memory.csv --limit-gib 11

Training has one item a step. `-small` are baselines of about as many parameters as `joint`, the
plans of `mri_models.py`; of `joint` there is bfloat16 too, and `joint-least`: slabs of four slices
whose maps are computed again, the last resort of `--memory-gib`. Predictions are of tensors
(`envoi.mri.memory`). Each case that is predicted to stay under the limit is measured in a process
of its own: by how much its resident memory grows while it samples with four steps of the solver, or
trains for two steps on one volume, after a small model of its kind has loaded the libraries' code.
`measured_bytes` of the others is empty, and their device `any`. What the file has measured before
is kept, unless its prediction has changed since.
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
from itertools import product
from pathlib import Path
from typing import NamedTuple, cast

import torch
from mri_models import CASES

from envoi.files import write_text
from envoi.meter import metered
from envoi.mri.memory import Phase, Use, predicted_bytes
from envoi.mri.model import VolumeModel
from envoi.mri.modes import Plan, model_of, plan_of
from envoi.mri.population import Population
from envoi.mri.training import MriTraining, train
from envoi.precision import computing
from envoi.settings import Precision

MODELS = (
    "joint",
    "joint-least",
    *(name for mode in ("paper", "full3d", "wavelet3d") for name in (mode, f"{mode}-small")),
)
# Phases and precisions of those that are not used in fp32 alone.
LOWERED = {
    "joint": (("sample", "train"), ("fp32", "bf16")),
    "joint-least": (("train",), ("bf16",)),
}
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
    def case(self) -> "Case":
        """What was measured."""
        return Case(self.model, self.size, self.phase, self.precision)


class Case(NamedTuple):
    """A model in use."""

    model: str
    size: int
    phase: str
    precision: str

    @property
    def plan(self) -> Plan:
        """Of its model."""
        mode, _, kind = self.model.partition("-")
        changes = {"": {}, "small": CASES[mode].changes, "least": {"thickness": 4, "overlap": 2}}
        return plan_of(mode, (self.size,) * 3, changes[kind])

    @property
    def use(self) -> Use:
        """Of its model."""
        return Use(
            cast("Phase", self.phase),
            checkpointed=self.model.endswith("-least"),
            precision=cast("Precision", self.precision),
        )

    @property
    def predicted_bytes(self) -> int:
        """By the formula."""
        return predicted_bytes(self.plan, self.use)


def main() -> None:
    """Predict and measure every case; the file is written after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--sizes", default="64,96,128,224")
    parser.add_argument("--limit-gib", type=float, default=0.0, help="0 measures nothing.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", help="MODEL,SIZE,PHASE,PRECISION: print its bytes.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.measure:
        model, size, phase, precision = options.measure.split(",")
        case = Case(model, int(size), phase, precision)
        use_model(case._replace(size=WARM_UP_SIZE))
        print(grown_bytes(case))
        return
    if options.out is None:
        parser.error("--out is needed")
    rows = {row.case: row for row in rows_of(options.out)}
    for case in cases(options.models.split(","), map(int, options.sizes.split(","))):
        predicted, before = case.predicted_bytes, rows.get(case)
        found = None
        if before is not None and before.predicted_bytes == predicted:
            found = before.measured_bytes
        if found is None and predicted < options.limit_gib * 2**30:
            found = measured_apart(case)
        device = "any" if found is None else "cpu"
        rows[case] = Row(*case, device, predicted, found)
        print(rows[case], "" if found is None else f"{found / predicted:.3f}", flush=True)
        write_text(options.out, as_csv(rows.values()))


def cases(models: Iterable[str], sizes: Iterable[int]) -> Iterator[Case]:
    """All of them."""
    for model, size in product(models, sizes):
        phases, precisions = LOWERED.get(model, (("sample", "train"), ("fp32",)))
        for phase, precision in product(phases, precisions):
            yield Case(model, size, phase, precision)


def measured_apart(case: Case) -> int:
    """The bytes of one case, in a process of its own."""
    words = [sys.executable, __file__, "--measure", ",".join(map(str, case))]
    done = subprocess.run(
        words, env=os.environ | ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout)


def grown_bytes(case: Case) -> int:
    """By how much the most resident memory exceeds that before there is a model."""
    gc.collect()
    with metered() as idle:
        pass
    with metered() as busy:
        use_model(case)
    return busy.peak_bytes - idle.peak_bytes


def use_model(case: Case) -> None:
    """What a prediction is about, with the code that users run."""
    plan, precision = case.plan, case.use.precision
    model = model_of(plan, checkpointed=case.use.checkpointed)
    generator = torch.Generator().manual_seed(0)
    if case.phase == "sample":
        with computing(precision, model.device):
            model.eval().draw(torch.zeros(1, 2), steps=4, generator=generator)
        return
    voxels = torch.full((1, *plan.shape), -1, dtype=torch.half)
    voxels[:, 1:-1, 1:-1, 1:-1] = 0  # as large a brain as has an outline
    population = Population(voxels, torch.zeros(1, 2))
    if type(model).heaviest_losses is not VolumeModel.heaviest_losses:
        model.losses = model.heaviest_losses  # type: ignore[method-assign]
    settings = MriTraining.of_mode(
        case.model.partition("-")[0], steps=2, batch=1, precision=precision
    )
    train(model, population, settings)


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
