"""What correlations by a few common factors cost the closed form, and save in bytes.

    python benchmarks/moment_rank.py skin28.npz pneumoniamnist.npz \
        --out benchmarks/results/moment_rank.json

On VALIDATION images, as a rank may be chosen by it. No network is trained: each site's moments go
into the tensors of a file and out again, and the pooled ones make the discriminant. Beside the
factors that Envoi sends stand those of the leading eigenvectors, in full precision. Priors are the
pooled counts to the power 1 (`closed_form`) and 0.8 (its part in the consensus).
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

from envoi.data import load_medmnist
from envoi.files import write_json
from envoi.meter import device_name
from envoi.networks.descriptor import Descriptor
from envoi.seeding import derive_seed
from envoi.server.closed_form import discriminant, log_prior
from envoi.server.consensus import PRIOR_POWER
from envoi.server.pooled import pooled_moments
from envoi.simulation.partition import parse_partition, partition
from envoi.site.moments import feature_moments
from envoi.submission import Moments
from envoi.submission.factors import completed
from envoi.transforms import normalise
from envoi.types import DataSet, ImageSet, ImageSpec

RANKS = (0, 16, 32, 64, 128)
SEEDS = (0, 1, 2)
MINIMUM_CLASS, MINIMUM_IMAGES = 10, 100  # as simulations have them
Sent = Callable[[Moments], Moments]


@dataclass(frozen=True, slots=True)
class Features:
    """Descriptor features and labels of some images."""

    values: Float[Tensor, "image feature"]
    labels: np.ndarray

    @classmethod
    def of(cls, images: ImageSet) -> "Features":
        """Those of `images`."""
        channels, size_px = images.images.shape[1:3]
        pixels = normalise(images.images, ImageSpec.of(channels, size_px))
        return cls(Descriptor(channels, size_px)(pixels), images.labels)


def main() -> None:
    """Measure every rank on every set and partition; the file is written after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--partition", default="dirichlet-0.3,one-class")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, object] = {"seeds": SEEDS, "device": device_name()}
    for path in options.data:
        data = load_medmnist(path)
        training, judge = Features.of(data.train), Features.of(data.validation)
        found: dict[str, object] = {"bytes_of_correlations": _bytes(training)}
        for name in options.partition.split(","):
            found[name] = _measured(data, training, judge, name)
            result[data.name] = found
            write_json(options.out, result)
            print(data.name, name, found[name], flush=True)


def _measured(
    data: DataSet, training: Features, judge: Features, name: str
) -> dict[str, dict[str, list[float]]]:
    """Measures in percent by way of sending, seed by seed."""
    ways: dict[str, Sent] = {"all": partial(_sent, rank=0)}
    ways |= {f"{rank} factors": partial(_sent, rank=rank) for rank in RANKS[1:]}
    ways |= {f"{rank} eigenvectors": partial(_eigenvectors, rank=rank) for rank in RANKS[1:]}
    found: dict[str, dict[str, list[float]]] = {way: {} for way in ways}
    classes = len(data.train.class_names)
    for seed in SEEDS:
        sites = min(5, classes) if name == "one-class" else 5
        draws = derive_seed(seed, "partition")
        parts = partition(data.train, scheme=parse_partition(name), sites=sites, seed=draws)
        moments = [_moments(training, part, classes) for part in parts]
        counts = torch.stack([_counts(training.labels[part], classes) for part in parts])
        for way, sent in ways.items():
            measures = _judged([sent(site) for site in moments], counts, judge)
            for measure, value in measures.items():
                found[way].setdefault(measure, []).append(round(value, 2))
    return found


def _judged(
    moments: list[Moments], counts: Float[Tensor, "site class"], judge: Features
) -> dict[str, float]:
    pooled = pooled_moments(moments, counts)
    weight, bias = discriminant(pooled)
    likelihoods = judge.values.double() @ weight.T + bias
    measures = {}
    for power in (1.0, PRIOR_POWER):
        answers = (likelihoods + log_prior(pooled.counts, power)).argmax(dim=1).numpy()
        measures[f"accuracy, prior {power:g}"] = 100 * float((answers == judge.labels).mean())
        balanced = balanced_accuracy_score(judge.labels, answers)
        measures[f"balanced accuracy, prior {power:g}"] = 100 * float(balanced)
    return measures


def _sent(moments: Moments, rank: int) -> Moments:
    """There and back through the tensors of a file."""
    back = Moments.taken_from(moments.encoded(rank))
    assert back is not None
    return back


def _eigenvectors(moments: Moments, rank: int) -> Moments:
    if not moments.has_correlations:
        return moments
    values, vectors = torch.linalg.eigh(moments.correlations.double())
    factors = (vectors * values.clamp_min(0).sqrt())[:, -rank:].float()
    return replace(moments, correlations=completed(factors))


def _moments(training: Features, part: np.ndarray, classes: int) -> Moments:
    return feature_moments(
        training.values[part].numpy(),
        training.labels[part],
        classes=classes,
        minimum=MINIMUM_CLASS,
        minimum_covariance=MINIMUM_IMAGES,
    )


def _counts(labels: np.ndarray, classes: int) -> Float[Tensor, " class"]:
    counts = torch.from_numpy(np.bincount(labels, minlength=classes)).float()
    return torch.where(counts < MINIMUM_CLASS, 0.0, counts)


def _bytes(training: Features) -> dict[str, int]:
    """Of the correlations of one site, by rank (0 is all)."""
    size = training.values.shape[1]
    nothing = Moments(torch.zeros(0, size), torch.zeros(size), torch.eye(size))
    return {
        str(rank): sum(t.numel() * t.element_size() for t in nothing.encoded(rank).values())
        - 4 * size  # the deviations
        for rank in RANKS
    }


if __name__ == "__main__":
    main()
