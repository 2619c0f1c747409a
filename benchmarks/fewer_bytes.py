"""What smaller submissions cost: weights in half precision or int8, correlations by factors.

    python benchmarks/fewer_bytes.py skin28.npz --out benchmarks/results/fewer_bytes.json

Runs are those of the method table (`envoi bench run ... --epochs 8 --budget smoke`) in other
formats, and go on where they were stopped. Test images; nothing is chosen on them.
"""

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean

import torch
from small_federation import small_federation

from envoi.data import load_medmnist
from envoi.files import write_json
from envoi.results import StudyResult
from envoi.server.methods import method_called
from envoi.settings import Budget
from envoi.simulation.bench import run_bench
from envoi.simulation.federation import STATISTICS

# Weights, and the number of common factors (0: all correlations in fp16).
FORMATS = (("fp32", 0), ("fp16", 0), ("int8", 0), ("int8", 64), ("int8", 32))
METHODS = ("ensemble_consensus", "envoi")


def main() -> None:
    """Run every format with every seed; the file is written after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--partition", default="dirichlet-0.6")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--work", type=Path, default=Path("runs/fewer_bytes"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, budget = load_medmnist(options.data), Budget.preset("smoke")
    found: dict[str, list[StudyResult]] = {}
    for seed, (weights, rank) in product(options.seeds.split(","), FORMATS):
        settings = replace(
            small_federation(options.partition, seed=int(seed), epochs=8),
            weight_format=weights,
            statistics=STATISTICS.model_copy(update={"moment_rank": rank}),
        )
        name = f"{weights}, " + (f"{rank} factors" if rank else "all correlations")
        result = run_bench(
            data,
            settings,
            {method: method_called(method) for method in METHODS},
            options.work / f"{weights}_{rank}_{seed}",
            budget=budget,
            shared=options.work / "pooled",
        )
        found.setdefault(name, []).append(result)
        print(name, seed, flush=True)
        write_json(options.out, _told(data.name, options.partition, found))


def _told(data: str, partition: str, found: dict[str, list[StudyResult]]) -> dict[str, object]:
    formats = {
        name: {
            "seeds": [run.seed for run in runs],
            "bytes_per_site": runs[0].methods["envoi"].bytes_per_site,
            **{method: _means(runs, method) for method in ("pooled", *METHODS)},
        }
        for name, runs in found.items()
    }
    environment = next(iter(found.values()))[0].environment
    return {"data": data, "partition": partition, "formats": formats, "environment": environment}


def _means(runs: list[StudyResult], method: str) -> dict[str, float]:
    metrics = [run.methods[method].metrics for run in runs]
    return {
        key: round(fmean(getattr(one, key).value for one in metrics), 4)
        for key in ("accuracy", "balanced_accuracy", "auroc")
    }


if __name__ == "__main__":
    main()
