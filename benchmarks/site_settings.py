"""What each thing that a study may ask of its sites does to the ensembles of their networks.

    python benchmarks/site_settings.py skin28.npz --out benchmarks/results/site_settings.json

Nothing is distilled: the figures are those of the teachers, on the test images, on which nothing is
chosen. Sites train anew only where the training is another one; what they release is the same
network under another policy.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from envoi.cli.bench_runs import TRAINING
from envoi.data import load_medmnist
from envoi.evaluation import evaluate
from envoi.files import write_json
from envoi.meter import device_name
from envoi.server.build import predict
from envoi.server.methods import ENSEMBLES
from envoi.settings import TrainingSettings
from envoi.simulation.federation import STATISTICS, Federation, FederationSettings
from envoi.simulation.partition import parse_partition
from envoi.study import StatisticsPolicy
from envoi.types import DataSet

ROWS = ("consensus_networks", "consensus", "class_count", "site_gate")


@dataclass(frozen=True, slots=True)
class Variant:
    """What one study asks of its sites."""

    training: TrainingSettings = TRAINING
    statistics: StatisticsPolicy = STATISTICS


def released(*more: str, **changes: int) -> StatisticsPolicy:
    """The policy with `more` to release, or other values."""
    release = (*STATISTICS.release, *more)
    return StatisticsPolicy(**{**STATISTICS.model_dump(), "release": release, **changes})


ADJUSTED = replace(TRAINING, logit_adjustment=1.0)
VARIANTS = {
    "plain": Variant(),
    "temperature": Variant(statistics=released("temperature")),
    "without feature_moments": Variant(statistics=StatisticsPolicy()),
    "moment_rank 16": Variant(statistics=released(moment_rank=16)),
    "moment_rank 64": Variant(statistics=released(moment_rank=64)),
    "logit_adjustment 1": Variant(ADJUSTED),
    "logit_adjustment 1, temperature": Variant(ADJUSTED, released("temperature")),
    "logit_adjustment 0.5": Variant(replace(TRAINING, logit_adjustment=0.5)),
    "class_weights": Variant(replace(TRAINING, class_weights=True)),
}


def main() -> None:
    """Measure every variant on every partition; the file is written after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--partition", default="dirichlet-0.3,dirichlet-0.1")
    parser.add_argument("--sites", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--network", default="convnet-small")
    parser.add_argument("--work", type=Path, default=Path("runs/site_settings"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_medmnist(options.data)
    told = {name: getattr(options, name) for name in ("sites", "seed", "epochs", "network")}
    result = {"data": data.name, **told, "device": device_name(), "partitions": {}}
    for partition in options.partition.split(","):
        found = result["partitions"][partition] = {}
        for name, variant in VARIANTS.items():
            found[name] = _figures(data, partition, name, variant, options)
            print(partition, name, found[name], flush=True)
            write_json(options.out, result)


def _figures(
    data: DataSet, partition: str, name: str, variant: Variant, options: argparse.Namespace
) -> dict[str, object]:
    """Bytes of a site's file, and the measures of each ensemble."""
    settings = FederationSettings(
        partition=parse_partition(partition),
        sites=options.sites,
        networks=(options.network,),
        training=replace(variant.training, epochs=options.epochs),
        statistics=variant.statistics,
        seed=options.seed,
    )
    folder = options.work / partition / name.replace(" ", "_")
    _share_trainings(folder, options.work / partition / "sites")
    federation = Federation(data, settings, folder)
    sent = max(site.bytes_sent for site in federation.train_sites())
    teachers = federation.teachers()
    rows: dict[str, object] = {"bytes_per_site": sent}
    if variant.statistics.release != ("class_counts",):
        names = ROWS
    else:
        names = tuple(row for row in ROWS if row != "site_gate")  # which needs moments
    for row in names:
        answers = predict(ENSEMBLES[row](teachers), data.test.images, teachers.image)
        metrics = evaluate(answers, data.test.labels, patients=data.test.patients)
        measured = {
            "accuracy": metrics.accuracy,
            "balanced_accuracy": metrics.balanced_accuracy,
            "auroc": metrics.auroc,
            "ece": metrics.ece,
        }
        rows[f"ensemble_{row}"] = {key: round(each.value, 4) for key, each in measured.items()}
    if "temperature" in variant.statistics.release:
        rows["temperatures"] = [round(t, 3) for t in teachers.temperatures.tolist()]
    return rows


def _share_trainings(folder: Path, trainings: Path) -> None:
    """Let equal trainings of several studies be one: checkpoints are named by what decides them."""
    trainings.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "sites").exists():
        (folder / "sites").symlink_to(trainings.resolve())


if __name__ == "__main__":
    main()
