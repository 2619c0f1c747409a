"""The method `envoi` without one part or with one more, and where accuracy is lost on the way.

    python benchmarks/ablation.py skin28.npz --partition dirichlet-0.3 --out FILE.json

Three losses are told apart: from pooled training to the teacher, from the teacher to a student
that learns its answers on the real training images (which no server has), and from there to
the student of synthetic images. `site_of_image` is how often a linear classifier on the
descriptor tells which site a drawn image came from: the fingerprint that a student could learn
in place of the image. Test images; rows that the file has already are kept.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from ablation_variants import VARIANTS, RealImages, from_source
from known import known
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from small_federation import NETWORK, small_federation
from torch import nn

from envoi.data import load_medmnist
from envoi.files import write_json
from envoi.meter import device_name
from envoi.networks.descriptor import Descriptor
from envoi.seeding import torch_generator
from envoi.server.methods.envoi import envoi
from envoi.server.synthesis.moment_images import MomentImages
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.simulation.federation import Federation
from envoi.simulation.judge import ImageJudge
from envoi.transforms import normalise

Figures = dict[str, float]


def main() -> None:
    """Run all variants of all seeds and write one JSON file, again after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--partition", default="dirichlet-0.3")
    parser.add_argument("--sites", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_medmnist(options.data)
    budget = Budget.preset("smoke", size_px=data.train.images.shape[-1])
    told = {
        "data": data.name,
        "partition": options.partition,
        "sites": options.sites,
        "network": NETWORK,
        "epochs": options.epochs,
        "budget": asdict(budget),
        "device": device_name(),
    }
    runs: dict[str, dict[str, Figures]] = known(options.out, told).get("seeds", {})
    for seed in options.seeds:
        settings = small_federation(options.partition, seed=seed, epochs=options.epochs)
        settings = replace(settings, sites=options.sites)
        folder = options.work / options.out.stem / str(seed)
        run = runs.setdefault(str(seed), {})
        for name, found in _Run(Federation(data, settings, folder), budget).missing(run):
            run[name] = found
            print(seed, name, found, flush=True)
            write_json(options.out, {**told, "seeds": runs, "means": means(runs)})


def means(runs: dict[str, dict[str, Figures]]) -> dict[str, Figures]:
    """Of every row that all seeds have."""
    first, *others = runs.values()
    return {
        name: {key: round(fmean(run[name][key] for run in runs.values()), 4) for key in row}
        for name, row in first.items()
        if all(name in run for run in others)
    }


@dataclass(frozen=True, slots=True)
class _Run:
    """All rows of one seed."""

    federation: Federation
    budget: Budget

    def missing(self, rows: dict[str, Figures]) -> Iterator[tuple[str, Figures]]:
        """Every row that is not there yet, by name."""
        federation = self.federation
        federation.train_sites()
        teachers, data = federation.teachers(), federation.data
        judge = ImageJudge(data.test, teachers.image)
        teacher = envoi().teacher(teachers)
        real = normalise(data.train.images, teachers.image)
        ideal = from_source(lambda _: RealImages(real))
        if "pooled" not in rows:
            yield "pooled", _figures(judge, federation.train_pooled().network)
        if "teacher" not in rows:
            yield "teacher", _figures(judge, teacher)
        for name, variant in {"student on real images": ideal, **VARIANTS}.items():
            if name not in rows:
                student = variant.student(federation, teachers, self.budget, stream="ablation")
                yield name, _figures(judge, student, teacher)
        if "site_of_image" not in rows:
            yield "site_of_image", _fingerprint(teachers, federation.settings.seed)


def _figures(judge: ImageJudge, network: nn.Module, teacher: nn.Module | None = None) -> Figures:
    """How well a network does, and how often it answers as the teacher of `envoi` does."""
    metrics = judge(network)
    found = {
        "accuracy": round(metrics.accuracy.value, 4),
        "balanced_accuracy": round(metrics.balanced_accuracy.value, 4),
        "auroc": round(metrics.auroc.value, 4),
    }
    if teacher is not None:
        found["agreement"] = round(judge.compare(network, teacher).agreement.value, 4)
    return found


def _fingerprint(teachers: Teachers, seed: int) -> Figures:
    """Accuracy of telling the site of held-out drawn images, and that of guessing the largest."""
    drawn = MomentImages(teachers).draw(4000, torch_generator(seed, "fingerprint"))
    features = Descriptor(teachers.image.channels, teachers.image.size_px)(drawn.images).numpy()
    sites = drawn.sites.numpy()
    judge = LinearDiscriminantAnalysis().fit(features[:3000], sites[:3000])
    guessed = np.bincount(sites[:3000]).argmax()
    return {
        "told": float(judge.score(features[3000:], sites[3000:])),
        "guessed": float((sites[3000:] == guessed).mean()),
    }


if __name__ == "__main__":
    main()
