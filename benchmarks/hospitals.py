"""Which teacher for hospitals that differ? Folds of their *training* images; test images unseen.

    python benchmarks/hospitals.py chest224/labels.csv --out benchmarks/results/hospitals.json

Each fold holds a fifth of every site's class back; sites train on the rest. Rows are the consensus
with and without what it believes of the sites' differences (`envoi.server.shift`), and the other
teachers. Told are, of every fold and as means, balanced accuracy on all held-back images and on
each site's, and the mean negative log-likelihood in nats; and what believing less costs in nats,
fold by fold, with a 95 % interval (t) of the mean.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from scipy import stats
from small_federation import small_federation
from torch import nn

from envoi.data import Reading, load_table
from envoi.evaluation import evaluate
from envoi.files import write_json
from envoi.meter import environment
from envoi.seeding import numpy_generator
from envoi.server.build import predict
from envoi.server.consensus import Consensus, Differences
from envoi.server.gate import SiteGate
from envoi.server.methods import method_called
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.simulation.federation import Federation
from envoi.types import DataSet, ImageSet, ImageSpec

FOLDS = 5
BEST = "networks and closed form, differences: classes"
Figures = dict[str, float]


def main() -> None:
    """Train every fold's sites and measure every teacher; one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("runs/hospitals"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_table(options.table, spec=ImageSpec.of(1, 32), reading=Reading(fit="crop"))
    found: dict[str, list[Figures]] = {}
    for repeat in range(options.repeats):
        settings = small_federation("natural", seed=repeat, epochs=options.epochs)
        for number, fold in enumerate(folds_of(data, repeat)):
            federation = Federation(fold, settings, options.work / f"{repeat}-{number}")
            federation.train_sites()
            teachers = federation.teachers()
            for name, teacher in teachers_of(teachers, federation):
                found.setdefault(name, []).append(figures(teacher, fold.test, teachers.image))
            print(repeat, number, flush=True)
    told = {
        name: {
            **{key: round(fmean(row[key] for row in rows), 4) for key in rows[0]},
            "folds": rows,
        }
        for name, rows in found.items()
    }
    settings = small_federation("natural", seed=0, epochs=options.epochs)
    write_json(
        options.out,
        {
            "table": options.table.parent.name,
            "folds": FOLDS,
            "repeats": options.repeats,
            "training": asdict(settings.training),
            "environment": environment(),
            "teachers": told,
            "nats_above_classes": {
                name: _above(rows, found[BEST])
                for name, rows in found.items()
                if name.startswith(BEST.partition(",")[0]) and name != BEST
            },
        },
    )


def _above(rows: list[Figures], best: list[Figures]) -> list[float]:
    """Mean of the differences, and the ends of its interval."""
    key = "negative_log_likelihood"
    apart = np.array([one[key] - other[key] for one, other in zip(rows, best, strict=True)])
    mean, error = apart.mean(), apart.std(ddof=1) / len(apart) ** 0.5
    wide = float(stats.t.ppf(0.975, len(apart) - 1)) * error
    return [round(float(value), 4) for value in (mean, mean - wide, mean + wide)]


def folds_of(data: DataSet, repeat: int) -> Iterator[DataSet]:
    """The training images, a fifth of each class of each site held back as test images."""
    images = data.train
    if images.sites is None:
        raise SystemExit("the table names no sites")
    place = np.empty(len(images), np.int64)
    for site in np.unique(images.sites):
        for label in range(len(images.class_names)):
            own = np.flatnonzero((images.sites == site) & (images.labels == label))
            numpy_generator(repeat, "hospitals", str(site), label).shuffle(own)
            place[own] = np.arange(len(own)) % FOLDS
    for fold in range(FOLDS):
        yield replace(data, train=images.subset(place != fold), test=images.subset(place == fold))


def teachers_of(teachers: Teachers, federation: Federation) -> Iterator[tuple[str, nn.Module]]:
    """Every teacher, by what it is."""
    for name in ("mean_logits", "class_count"):
        method = method_called(f"ensemble_{name}")
        yield (
            name,
            method.fit(
                teachers,
                federation.study.network(),
                budget=Budget.preset("smoke"),
                generator=torch.Generator(),
            ),
        )
    yield "site gate", SiteGate(teachers)
    for differences in Differences:
        for part, changes in (
            ("closed form", {"networks": False}),
            ("networks and closed form", {}),
        ):
            yield (
                f"{part}, differences: {differences}",
                Consensus(teachers, differences=differences, **changes),
            )


def figures(teacher: nn.Module, images: ImageSet, spec: ImageSpec) -> Figures:
    """Of one teacher on the images that were held back."""
    told = predict(teacher, images.images, spec)
    metrics = evaluate(told, images.labels, sites=images.sites)
    own = told[np.arange(len(images)), images.labels]
    return {
        "balanced_accuracy": metrics.balanced_accuracy.value,
        **{site: one.balanced_accuracy.value for site, one in metrics.by_site.items()},
        "negative_log_likelihood": float(-np.log(np.maximum(own, 1e-12)).mean()),
    }


if __name__ == "__main__":
    main()
