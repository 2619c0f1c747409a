"""What studies lose whose sites are too small to tell correlations.

    python benchmarks/silent.py skin28.npz --out benchmarks/results/silent.json

Ten sites of about 700 images. With `minimum_covariance_images` of 100, as in other benchmarks, all
tell how features vary together; with the 1000 of a study that says nothing else, none does. Then
the closed form takes features for independent: told are it alone, networks alone, and what the
consensus and its student make of them. As this decided that such a closed form has no say beside
networks, images are *validation* images.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from small_federation import small_federation
from torch import nn

from envoi.data import load_medmnist
from envoi.files import write_json
from envoi.meter import environment
from envoi.seeding import torch_generator
from envoi.server.build import predict
from envoi.server.consensus import Consensus
from envoi.server.methods import envoi
from envoi.settings import Budget
from envoi.simulation.federation import STATISTICS, Federation
from envoi.simulation.judge import ImageJudge

PARTITIONS = ("iid", "dirichlet-0.3")
MINIMA = (100, 1000)


def main() -> None:
    """Measure every study; the file is written after each row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sites", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/silent"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, budget = load_medmnist(options.data), Budget.preset("smoke")
    if data.validation is None:
        raise SystemExit("the data have no validation images")
    told = {
        "data": data.name,
        "sites": options.sites,
        "seed": options.seed,
        "budget": asdict(budget),
        "environment": environment(),
    }
    rows: list[dict[str, object]] = []
    for partition in PARTITIONS:
        for minimum in MINIMA:
            settings = replace(
                small_federation(partition, seed=options.seed, epochs=8),
                sites=options.sites,
                statistics=STATISTICS.model_copy(update={"minimum_covariance_images": minimum}),
            )
            folder = options.work / f"{partition}-{minimum}"
            federation = Federation(data, settings, folder)
            judge = ImageJudge(data.validation, federation.study.image)
            for name, network in answering(federation, budget):
                found = measured(network, judge)
                rows.append({"partition": partition, "minimum": minimum, "who": name, **found})
                print(rows[-1], flush=True)
                write_json(options.out, {**told, "rows": rows})


def answering(federation: Federation, budget: Budget) -> Iterator[tuple[str, nn.Module]]:
    """The experts of a federation, together and apart, and the student."""
    federation.train_sites()
    teachers = federation.teachers()
    yield "networks alone", Consensus(teachers, moments_weight=0)
    yield "closed form alone", Consensus(teachers, networks=False)
    yield "teacher", Consensus(teachers)
    yield (
        "envoi",
        envoi().fit(
            teachers,
            federation.study.network(),
            budget=budget,
            generator=torch_generator(federation.settings.seed, "silent"),
        ),
    )


def measured(network: nn.Module, judge: ImageJudge) -> dict[str, float]:
    """Accuracies, and the mean negative log-likelihood in nats."""
    metrics, images = judge(network), judge.images
    told = predict(network, images.images, judge.spec)[np.arange(len(images)), images.labels]
    return {
        "accuracy": round(metrics.accuracy.value, 4),
        "balanced_accuracy": round(metrics.balanced_accuracy.value, 4),
        "negative_log_likelihood": round(float(-np.log(np.maximum(told, 1e-12)).mean()), 4),
    }


if __name__ == "__main__":
    main()
