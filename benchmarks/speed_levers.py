"""What levers of speed save and cost the data-free methods, on the same site networks.

    python benchmarks/speed_levers.py skin28.npz pneumoniamnist.npz --out FILE.json

Low resolution first (`Budget.coarse_share`) for `fedisca`, a learned start (`dense_meta`) for
`dense`, each beside its own plain form in one run: accuracy on test images of the last
checkpoint, arithmetic, and seconds of the processor. Nothing is chosen by what comes out.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import torch

from envoi.data import load_medmnist
from envoi.evaluation import evaluate
from envoi.files import write_json
from envoi.meter import device_name
from envoi.seeding import torch_generator
from envoi.server.build import predict
from envoi.server.methods import dense, dense_meta, fedisca
from envoi.server.methods.data_free import DataFree
from envoi.settings import Budget, TrainingSettings
from envoi.simulation.federation import Federation, FederationSettings
from envoi.simulation.partition import parse_partition

# A method, and what it changes of the budget.
CASES: dict[str, tuple[DataFree, dict[str, Any]]] = {
    "fedisca": (fedisca(), {}),
    "fedisca, half of the steps at half size": (fedisca(), {"coarse_share": 0.5}),
    "fedisca, four fifths at half size": (fedisca(), {"coarse_share": 0.8}),
    "dense": (dense(), {}),
    "dense, a sixth of the steps": (dense(), {"sixth": True}),
    "dense_meta": (dense_meta(), {}),
    "dense_meta, a sixth of the steps": (dense_meta(), {"sixth": True}),
}


def main() -> None:
    """Run every case on every data set, partition and seed, and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--partition", default="dirichlet-0.6")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--work", type=Path, default=Path("runs/speed_levers"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for file in options.data:
        for seed in options.seeds:
            rows += rows_of(file, seed, options)
            report = {"partition": options.partition, "device": device_name(), "rows": rows}
            write_json(options.out, report)


def rows_of(file: Path, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every case on one federation."""
    data = load_medmnist(file)
    training = TrainingSettings(
        epochs=options.epochs, batch_size=32, rate=0.05, schedule="one-cycle", augment=True
    )
    settings = FederationSettings(
        partition=parse_partition(options.partition),
        sites=5,
        networks=("convnet-small",),
        training=training,
        seed=seed,
    )
    federation = Federation(data, settings, options.work / f"{file.stem}-{seed}")
    federation.train_sites()
    teachers = federation.teachers()
    rows = []
    for name, (method, changes) in CASES.items():
        budget = budget_of(data.train.images.shape[-1], changes)
        began = process_time()
        student = method.fit(
            teachers,
            federation.study.network(),
            budget=budget,
            generator=torch_generator(seed, "levers"),
        )
        seconds = process_time() - began
        found = evaluate(predict(student, data.test.images, teachers.image), data.test.labels)
        row = {
            "data": file.stem,
            "seed": seed,
            "case": name,
            "accuracy": round(found.accuracy.value, 4),
            "balanced_accuracy": round(found.balanced_accuracy.value, 4),
            "flop": method.flop(teachers, federation.study.network(), budget=budget),
            "processor_seconds": round(seconds, 1),
        }
        rows.append(row)
        print(row, flush=True)
    return rows


def budget_of(size_px: int, changes: dict[str, Any]) -> Budget:
    """The smallest preset, changed; `sixth` leaves a sixth of the steps of an epoch."""
    budget = Budget.preset("smoke", size_px=size_px)
    if changes.get("sixth"):
        return replace(budget, synthesis_steps=round(budget.synthesis_steps / 6))
    return replace(budget, **changes)


if __name__ == "__main__":
    main()
