"""What a common start of the sites is worth: the study's seed, or a seed of each site's own.

    python benchmarks/initialisation.py skin28.npz --out FILE.json

The same images, counts, moments and orders of training; only the weights that sites start from
differ. Test images, the mean of the seeds; nothing is chosen by what comes out. Rows that the
file has already are kept.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from known import known
from small_federation import small_federation

from envoi.data import load_medmnist
from envoi.evaluation import evaluate
from envoi.files import write_json
from envoi.meter import device_name
from envoi.seeding import derive_seed, torch_generator
from envoi.server.build import predict
from envoi.server.kept import Held
from envoi.server.methods import method_called
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.simulation.federation import Federation
from envoi.site.train import train

METHODS = (
    "fedavg",
    "ensemble_mean_logits",
    "ensemble_consensus_networks",
    "ensemble_consensus",
    "envoi",
    "fedisca",
)


def main() -> None:
    """Measure every method after both kinds of training, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--partition", default="dirichlet-0.3")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--work", type=Path, default=Path("runs/initialisation"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, budget = load_medmnist(options.data), Budget.preset("smoke")
    told = {
        "data": data.name,
        "partition": options.partition,
        "epochs": options.epochs,
        "budget": asdict(budget),
        "device": device_name(),
    }
    rows = known(options.out, told).get("rows", [])
    done = {row["seed"] for row in rows}
    for seed in [seed for seed in options.seeds if seed not in done]:
        settings = small_federation(options.partition, seed=seed, epochs=options.epochs)
        settings = replace(settings, weight_format="fp32")  # as weights that do not travel
        federation = Federation(data, settings, options.work / str(seed))
        federation.train_sites()
        shared = federation.teachers()
        for kind, teachers in (("shared", shared), ("own", started_apart(federation, shared))):
            for row in measured(federation, teachers, budget):
                rows.append({"seed": seed, "initialisation": kind, **row})
                print(rows[-1], flush=True)
        write_json(options.out, {**told, "rows": rows})


def started_apart(federation: Federation, teachers: Teachers) -> Teachers:
    """The same sites, trained from weights of their own."""
    study, seed = federation.study, federation.settings.seed
    members = []
    for member in teachers.members:
        own = study.model_copy(update={"seed": derive_seed(seed, "own start", member.site)})
        trained = train(federation.images[member.site], study=own, seed=seed, name=member.site)
        members.append(replace(member, kept=Held(trained.network.eval()), temperature=1.0))
    return Teachers(tuple(members), teachers.image)


def measured(
    federation: Federation, teachers: Teachers, budget: Budget
) -> Iterator[dict[str, Any]]:
    """A row of every method."""
    test = federation.data.test
    for name in METHODS:
        network = method_called(name).fit(
            teachers,
            federation.study.network(),
            budget=budget,
            generator=torch_generator(federation.settings.seed, "initialisation"),
        )
        metrics = evaluate(predict(network, test.images, teachers.image), test.labels)
        yield {
            "method": name,
            "accuracy": round(metrics.accuracy.value, 4),
            "balanced_accuracy": round(metrics.balanced_accuracy.value, 4),
        }


if __name__ == "__main__":
    main()
