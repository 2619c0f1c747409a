"""The method `envoi` without one part or with one more, and where accuracy is lost on the way.

    python benchmarks/ablation.py skin28.npz --partition dirichlet-0.3 --out FILE.json

Three losses are told apart: from pooled training to the teacher, from the teacher to a student
that learns its answers on the real training images (which no server has), and from there to
the student of synthetic images. `site_of_image` is how often a linear classifier on the
descriptor tells which site a drawn image came from: the fingerprint that a student could learn
in place of the image.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from envoi.data import load_medmnist
from envoi.evaluation import evaluate
from envoi.files import write_json
from envoi.meter import device_name
from envoi.networks.descriptor import Descriptor
from envoi.results import Metrics
from envoi.seeding import torch_generator
from envoi.server.build import predict
from envoi.server.methods.envoi import envoi
from envoi.server.methods.from_bank import FromBank
from envoi.server.synthesis.moment_images import Drawn, MomentImages
from envoi.server.teacher import Teachers
from envoi.settings import Budget, TrainingSettings
from envoi.simulation.federation import Federation, FederationSettings
from envoi.simulation.partition import parse_partition
from envoi.transforms import normalise
from envoi.types import DataSet

VARIANTS: dict[str, FromBank] = {
    "envoi": envoi(),
    "without networks": envoi(networks=False),
    "without closed form": envoi(moments_weight=0.0),
    "procedural images": envoi(moment_images=False),
    "images by class counts": envoi(class_power=1.0),
    "pooled prior": envoi(prior_power=1.0),
    "flat prior": envoi(prior_power=0.0),
    "half of the images mixed": envoi(mixup=0.5),
    "half of the images noisy": envoi(noise=0.5),
}


@dataclass(frozen=True, slots=True)
class RealImages:
    """The training images themselves, as an ideal source."""

    images: Float[Tensor, "image channel height width"]

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """`count` of the images."""
        index = torch.randint(len(self.images), (count,), generator=generator)
        nobody = torch.full((count,), -1)
        return Drawn(self.images[index], nobody, nobody)


def main() -> None:
    """Run all variants and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--partition", default="dirichlet-0.3")
    parser.add_argument("--sites", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load_medmnist(options.data)
    federation = Federation(data, _settings(options), options.work / options.out.stem)
    federation.train_sites()
    teachers, pooled = federation.teachers(), federation.train_pooled().network
    budget = Budget.preset("smoke", size_px=data.train.images.shape[-1])
    real = normalise(data.train.images, teachers.image)
    ideal = FromBank("ideal", lambda _: RealImages(real), envoi().teacher)
    found = {
        "pooled": _figures(pooled, data, teachers),
        "teacher": _figures(envoi().teacher(teachers), data, teachers),
        "student on real images": _student(ideal, federation, teachers, budget),
    }
    for name, method in VARIANTS.items():
        found[name] = _student(method, federation, teachers, budget)
        print(name, found[name], flush=True)
    result = {
        "data": data.name,
        "partition": options.partition,
        "sites": options.sites,
        "network": "convnet-small",
        "seed": options.seed,
        "epochs": options.epochs,
        "budget": asdict(budget),
        "device": device_name(),
        "variants": found,
        "site_of_image": _fingerprint(teachers, options.seed),
    }
    write_json(options.out, result)


def _settings(options: argparse.Namespace) -> FederationSettings:
    training = TrainingSettings(
        epochs=options.epochs, batch_size=32, rate=0.05, schedule="one-cycle", augment=True
    )
    return FederationSettings(
        partition=parse_partition(options.partition),
        sites=options.sites,
        networks=("convnet-small",),
        training=training,
        seed=options.seed,
    )


def _student(
    method: FromBank, federation: Federation, teachers: Teachers, budget: Budget
) -> dict[str, float]:
    draws = torch_generator(federation.settings.seed, "ablation")
    student = federation.study.network()
    network = method.fit(teachers, student, budget=budget, generator=draws)
    return _figures(network, federation.data, teachers)


def _figures(network: nn.Module, data: DataSet, teachers: Teachers) -> dict[str, float]:
    answers = predict(network, data.test.images, teachers.image)
    metrics: Metrics = evaluate(answers, data.test.labels)
    return {
        "accuracy": round(metrics.accuracy.value, 4),
        "balanced_accuracy": round(metrics.balanced_accuracy.value, 4),
    }


def _fingerprint(teachers: Teachers, seed: int) -> dict[str, float]:
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
