"""What levers of speed save and cost the data-free methods, on the same site networks.

    python benchmarks/speed_levers.py skin28.npz pneumoniamnist.npz --out FILE.json

Low resolution first (`Budget.coarse_share`) for `fedisca`, a learned start (`dense_meta`) for
`dense`, each beside its own plain form: accuracy of the student at the end on test images,
arithmetic, and seconds of the processor. A sixth of the steps is a sixth for the student too.
Nothing is chosen by what comes out. Rows that the file has already are kept.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any

import torch
from known import known
from small_federation import NETWORK, small_federation

import envoi
from envoi.data import load_medmnist
from envoi.evaluation import evaluate
from envoi.files import write_json
from envoi.meter import device_name
from envoi.seeding import torch_generator
from envoi.server.build import predict
from envoi.server.methods import dense, dense_meta, fedisca
from envoi.server.methods.data_free import DataFree
from envoi.settings import Budget
from envoi.simulation.federation import Federation

SITES = 5


def whole(budget: Budget) -> Budget:
    """As it is."""
    return budget


def coarse(share: float) -> Callable[[Budget], Budget]:
    """A share of the steps at half the height and width."""
    return lambda budget: replace(budget, coarse_share=share)


def sixth(budget: Budget) -> Budget:
    """A sixth of the steps."""
    return replace(budget, synthesis_steps=round(budget.synthesis_steps / 6))


@dataclass(frozen=True, slots=True)
class Case:
    """A method and its budget, made from the smallest preset."""

    method: DataFree
    budget: Callable[[Budget], Budget] = whole


CASES = {
    "fedisca": Case(fedisca()),
    "fedisca, half of the steps at half size": Case(fedisca(), coarse(0.5)),
    "fedisca, four fifths at half size": Case(fedisca(), coarse(0.8)),
    "dense": Case(dense()),
    "dense, a sixth of the steps": Case(dense(), sixth),
    "dense_meta": Case(dense_meta()),
    "dense_meta, a sixth of the steps": Case(dense_meta(), sixth),
}


def main() -> None:
    """Run every case that is missing, seed by seed, and write the file after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--partition", default="dirichlet-0.6")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--work", type=Path, default=Path("runs/speed_levers"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    told: dict[str, Any] = {
        "partition": options.partition,
        "sites": SITES,
        "network": NETWORK,
        "epochs": options.epochs,
        "budget": asdict(Budget.preset("smoke")),
        "version": envoi.__version__,
        "device": device_name(),
    }
    rows = known(options.out, told, apart=()).get("rows", [])
    told["rows"] = rows
    for seed in options.seeds:
        for file in options.data:
            done = {row["case"] for row in rows if (row["data"], row["seed"]) == (file.stem, seed)}
            if done == set(CASES):
                continue
            federation = trained(file, seed, options)
            for name in [name for name in CASES if name not in done]:
                row = {"data": file.stem, "seed": seed, "case": name}
                rows.append(row | measured(CASES[name], federation, seed))
                write_json(options.out, told)
                print(rows[-1], flush=True)


def trained(file: Path, seed: int, options: argparse.Namespace) -> Federation:
    """The sites of one seed, trained."""
    settings = small_federation(options.partition, seed=seed, epochs=options.epochs)
    settings = replace(settings, sites=SITES)
    federation = Federation(load_medmnist(file), settings, options.work / f"{file.stem}-{seed}")
    federation.train_sites()
    return federation


def measured(case: Case, federation: Federation, seed: int) -> dict[str, float]:
    """Accuracy and cost of one case."""
    teachers, data = federation.teachers(), federation.data
    budget = case.budget(Budget.preset("smoke", size_px=data.train.images.shape[-1]))
    draws, began = torch_generator(seed, "levers"), process_time()
    student = case.method.fit(teachers, federation.study.network(), budget=budget, generator=draws)
    seconds = process_time() - began
    found = evaluate(predict(student, data.test.images, teachers.image), data.test.labels)
    accuracy, balanced = found.accuracy, found.balanced_accuracy
    return {
        "accuracy": round(accuracy.value, 4),
        "accuracy_low": round(accuracy.low, 4),
        "accuracy_high": round(accuracy.high, 4),
        "balanced_accuracy": round(balanced.value, 4),
        "balanced_accuracy_low": round(balanced.low, 4),
        "balanced_accuracy_high": round(balanced.high, 4),
        "flop": case.method.flop(teachers, federation.study.network(), budget=budget),
        "processor_seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
