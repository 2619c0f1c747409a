"""What keeps the student close to its teacher: `envoi` with other images and other optimisers.

    python benchmarks/student.py skin28.npz pneumoniamnist.npz --out FILE.json

Made to choose defaults, so it asks *validation* images alone; docs/method.md tells what came of it.
`divergence` is the mean of KL(teacher || student), on the images as they are and on the
same images changed (darker, of less contrast, blurred, noisy), as a student meets images unlike
those that sites trained on. `overall` is the geometric mean of all of a variant's divergences, of
at least 0.0001 each.
Rows that the file has already are kept.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import geometric_mean
from typing import Any, cast

import numpy as np
import torch
from ablation_variants import Variant
from jaxtyping import UInt8
from known import known
from numpy.typing import NDArray
from scipy import ndimage
from small_federation import small_federation
from torch import nn

from envoi.data import load_medmnist
from envoi.evaluation import evaluate
from envoi.files import write_json
from envoi.meter import device_name
from envoi.server.bank import Source
from envoi.server.build import predict
from envoi.server.methods.envoi import envoi
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.simulation.federation import Federation
from envoi.types import DataSet

Images = UInt8[NDArray[np.uint8], "image channel height width"]
Answers = dict[str, NDArray[np.float64]]

MUON = {"bank_matrix_rate": 0.02}
# Every argument is said, as their defaults are what this is about.
PLAIN = envoi(mixup=0.0, refine_steps=0)
VARIANTS: dict[str, Variant] = {
    "AdamW": Variant(PLAIN),
    "AdamW, all mixed": Variant(envoi(mixup=1.0, refine_steps=0)),
    "Muon": Variant(PLAIN, MUON),
    "Muon, half mixed": Variant(envoi(mixup=0.5, refine_steps=0), MUON),
    "Muon, half noisy": Variant(envoi(mixup=0.0, noise=0.5, refine_steps=0), MUON),
    "Muon, half mixed and half noisy": Variant(envoi(mixup=0.5, noise=0.5, refine_steps=0), MUON),
    "Muon, refined": Variant(envoi(mixup=0.0, refine_steps=10), MUON),
}
SILENT: dict[str, Variant] = {
    "no moments": Variant(PLAIN),
    "no moments, refined": Variant(envoi(mixup=0.0, refine_steps=10)),
    "no moments, Muon": Variant(PLAIN, MUON),
    "no moments, Muon, refined": Variant(envoi(mixup=0.0, refine_steps=10), MUON),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A split of each data set; with two classes, one class per site is two sites."""

    partition: str
    sites: int | None = None


CASES = (Case("dirichlet-0.3", 5), Case("one-class"))


def main() -> None:
    """Distil every variant in every case, and write the file after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--work", type=Path, default=Path("runs/student"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    budget = Budget.preset("smoke")
    told = {
        "seed": options.seed,
        "epochs": options.epochs,
        "variants": {name: told_of(variant) for name, variant in (VARIANTS | SILENT).items()},
        "budget": asdict(budget),
        "device": device_name(),
    }
    rows = known(options.out, told).get("rows", [])
    for file in options.data:
        data = load_medmnist(file)
        for case in CASES:
            settings = small_federation(case.partition, seed=options.seed, epochs=options.epochs)
            sites = case.sites or min(5, len(data.train.class_names))
            federation = Federation(
                data,
                replace(settings, sites=sites),
                options.work / f"{data.name}_{case.partition}",
            )
            federation.train_sites()
            telling = federation.teachers()
            members = [replace(member, moments=None) for member in telling.members]
            silent = Teachers(tuple(members), telling.image)
            for teachers, variants in ((silent, SILENT), (telling, VARIANTS)):
                wanted = answers(PLAIN.teacher(teachers), data, teachers)
                for name, variant in variants.items():
                    row = {"data": data.name, "partition": case.partition, "variant": name}
                    if any(row.items() <= before.items() for before in rows):
                        continue
                    student = variant.student(federation, teachers, budget, stream="student")
                    rows.append(row | measured(answers(student, data, teachers), wanted, data))
                    print(rows[-1], flush=True)
                    write_json(options.out, {**told, "overall": overall(rows), "rows": rows})


def told_of(variant: Variant) -> dict[str, Any]:
    """What a variant's name stands for."""
    arguments = cast("partial[Source]", variant.method.source).keywords
    return {**arguments, **variant.budget}


def measured(found: Answers, wanted: Answers, data: DataSet) -> dict[str, Any]:
    """A student's answers, beside its teacher's."""
    metrics = evaluate(found["as they are"], data.validation.labels)
    return {
        "accuracy": round(metrics.accuracy.value, 4),
        "balanced_accuracy": round(metrics.balanced_accuracy.value, 4),
        "divergence": {name: round(divergence(wanted[name], found[name]), 4) for name in CHANGES},
    }


def answers(network: nn.Module, data: DataSet, teachers: Teachers) -> Answers:
    """Probabilities on the validation images, changed in every way."""
    images, spec = data.validation.images, teachers.image
    return {name: predict(network, change(images), spec) for name, change in CHANGES.items()}


def divergence(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """KL(wanted || found), the mean over images, in nats."""
    apart = np.log(wanted.clip(1e-7)) - np.log(found.clip(1e-7))
    return float((wanted * apart).sum(axis=1).mean())


def overall(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The geometric mean of each variant's divergences, over all of its cases."""
    return {
        name: round(
            geometric_mean(
                max(value, 1e-4)
                for row in rows
                if row["variant"] == name
                for value in row["divergence"].values()
            ),
            4,
        )
        for name in dict.fromkeys(row["variant"] for row in rows)
    }


def as_it_is(images: Images) -> Images:
    """No change."""
    return images


def darker(images: Images) -> Images:
    """By a fifth of the range."""
    return (images.astype(np.float32) - 51).clip(0, 255).astype(np.uint8)


def paler(images: Images) -> Images:
    """Of 0.6 times the contrast, around each image's mean."""
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return (mean + 0.6 * (images - mean)).clip(0, 255).astype(np.uint8)


def blurred(images: Images) -> Images:
    """By a Gaussian of one pixel."""
    return ndimage.gaussian_filter(images, sigma=(0, 0, 1, 1))


def noisy(images: Images) -> Images:
    """By noise of a twentieth of the range."""
    noise = np.random.default_rng(0).normal(0, 12.75, images.shape)
    return (images + noise).clip(0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Images], Images]] = {
    "as they are": as_it_is,
    "darker": darker,
    "paler": paler,
    "blurred": blurred,
    "noisy": noisy,
}


if __name__ == "__main__":
    main()
