"""How far `envoi` reaches: many sites, unequal networks, no batch norm, no moments.

    python benchmarks/reach.py skin28.npz --out benchmarks/results/reach.json

Each case is one federation that differs from `sites-5` in one thing. It has a run folder of its
own under `--work`, so that a killed job goes on where it was, and the file is written again
after each case. With `--cases` the others stay as the file has them.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from known import known
from small_federation import small_federation

from envoi.data import load_medmnist
from envoi.files import write_json
from envoi.meter import environment
from envoi.results import Interval, MethodResult, StudyResult
from envoi.server.methods import method_called
from envoi.settings import Budget
from envoi.simulation.bench import run_bench
from envoi.simulation.federation import STATISTICS, FederationSettings
from envoi.study import StatisticsPolicy
from envoi.types import DataSet

METHODS = ("ensemble_class_count", "ensemble_consensus", "envoi")
MIXED = ("convnet-small", "resnet10-small", "resnet10-small-gn")
COUNTS_ALONE = StatisticsPolicy(release=("class_counts",))


@dataclass(frozen=True, slots=True)
class Case:
    """One federation.

    Attributes:
        name: Of its run folder.
        sites: How many.
        networks: Dealt to the sites in turn; the first is the student's and the pooled one's.
        partition: By name.
        statistics: What leaves beside the network.
    """

    name: str
    sites: int = 5
    networks: tuple[str, ...] = ("convnet-small",)
    partition: str = "dirichlet-0.3"
    statistics: StatisticsPolicy = STATISTICS


CASES = (
    Case("sites-5"),
    Case("mixed", networks=MIXED),
    Case("no-moments", statistics=COUNTS_ALONE),
    Case("no-batch-norm", networks=("resnet10-small-gn",)),
    Case("sites-50", sites=50),
    Case("sites-2", sites=2),
    Case("sites-20", sites=20),
    Case("sites-10", sites=10),
    Case("one-class-7", sites=7, partition="one-class"),
)


def main() -> None:
    """Run all cases and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8, help="of each site, in every case")
    parser.add_argument("--cases", default=",".join(case.name for case in CASES))
    parser.add_argument("--work", type=Path, default=Path("runs/reach"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    asked = options.cases.split(",")
    if unknown := set(asked) - {case.name for case in CASES}:
        parser.error(f"no such cases: {', '.join(sorted(unknown))}")
    cases = [case for case in CASES if case.name in asked]
    torch.set_num_threads(1)
    data = load_medmnist(options.data)
    budget = Budget.preset("smoke", size_px=data.train.images.shape[-1])
    report = {
        "data": data.name,
        "seed": options.seed,
        "epochs": options.epochs,
        "budget": asdict(budget),
        "environment": environment(),
    }
    before = known(options.out, report, apart=("environment",)).get("cases", [])
    found = {case["case"]: case for case in before}
    for case, result in results(options, cases, data, budget):
        found[case.name] = told(case, result)
        print(case.name, found[case.name]["rows"]["envoi"], flush=True)
        ordered = [found[case.name] for case in CASES if case.name in found]
        write_json(options.out, {**report, "cases": ordered})
    print(as_markdown(ordered))


def results(
    options: argparse.Namespace, cases: Sequence[Case], data: DataSet, budget: Budget
) -> Iterator[tuple[Case, StudyResult]]:
    """Each case with its result, as soon as it is known."""
    methods = {name: method_called(name) for name in METHODS}
    shared = options.work / "pooled"
    for case in cases:
        settings = _settings(case, epochs=options.epochs, seed=options.seed)
        folder = options.work / case.name
        yield case, run_bench(data, settings, methods, folder, budget=budget, shared=shared)


def told(case: Case, result: StudyResult) -> dict[str, Any]:
    """What the file says of a case."""
    rows = {
        "pooled": result.methods["pooled"],
        "best_site": best_site(result.methods),
        **{name: result.methods[name] for name in METHODS},
    }
    pooled = rows["pooled"]
    counts = [site.class_counts for site in result.sites]
    return {
        "case": case.name,
        "partition": case.partition,
        "sites": len(result.sites),
        "networks": list(case.networks),
        "released": list(case.statistics.release),
        "smallest_site_images": min(map(sum, counts)),
        "fewest_classes_at_a_site": min(sum(count > 0 for count in site) for site in counts),
        "site_training_seconds": sum(site.train_seconds for site in result.sites),
        "wall_seconds": result.wall_seconds,
        "rows": {name: _row(row, pooled) for name, row in rows.items()},
    }


def as_markdown(cases: list[dict[str, Any]]) -> str:
    """Accuracy / balanced accuracy in % of every row of every case, for docs/method.md."""
    columns = ("pooled", "best_site", *METHODS)
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for case in cases:
        cells = [_cell(case["rows"][name]) for name in columns]
        lines.append(f"| {case['case']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def best_site(rows: Mapping[str, MethodResult]) -> MethodResult:
    """The site whose network has the best balanced accuracy."""
    local = [row for name, row in rows.items() if name.startswith("local/")]
    return max(local, key=lambda row: row.metrics.balanced_accuracy.value)


def _row(row: MethodResult, pooled: MethodResult) -> dict[str, Any]:
    accuracy, balanced = row.metrics.accuracy, row.metrics.balanced_accuracy
    return {
        "method": row.method,
        "accuracy": _interval(accuracy),
        "balanced_accuracy": _interval(balanced),
        "of_pooled": {
            "accuracy": round(accuracy.value / pooled.metrics.accuracy.value, 4),
            "balanced_accuracy": round(balanced.value / pooled.metrics.balanced_accuracy.value, 4),
        },
        "server_seconds": round(row.server_seconds, 1),
        "server_flop": row.server_flop,
        "bytes_per_site": row.bytes_per_site,
    }


def _cell(row: dict[str, Any]) -> str:
    return " / ".join(f"{100 * row[name][0]:.1f}" for name in ("accuracy", "balanced_accuracy"))


def _interval(measured: Interval) -> list[float]:
    """Value, and the ends of its 95 % bootstrap interval."""
    return [round(value, 4) for value in (measured.value, measured.low, measured.high)]


def _settings(case: Case, *, epochs: int, seed: int) -> FederationSettings:
    return replace(
        small_federation(case.partition, seed=seed, epochs=epochs),
        networks=case.networks,
        sites=case.sites,
        statistics=case.statistics,
    )


if __name__ == "__main__":
    main()
