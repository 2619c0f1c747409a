"""How far sites are from one another, in units of what chance explains.

    python benchmarks/shift.py skin28.npz pneumoniamnist.npz --out benchmarks/results/shift.json

Told are the largest D/E and D'/E' over sites (`envoi.server.shift`: offsets of sites, and what
their classes differ by beside that), for splits of one source by label and for the sites that a
table's own column names (`--table`, read at 32 pixels, grey). The method believes in differences
from 2 on. Sites tell correlations from 100 images on, or from 1000 on where that is said (then
sites that share no class with others, and studies in which nobody tells, have 0); `of 2000` is
such a part of the images.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from envoi.data import Reading, load_medmnist, load_table
from envoi.files import write_json
from envoi.networks.descriptor import Descriptor
from envoi.seeding import derive_seed, numpy_generator
from envoi.server.shift import shifted_moments
from envoi.simulation.partition import partition
from envoi.site.moments import feature_moments
from envoi.transforms import normalise
from envoi.types import ImageSet, ImageSpec

SKEWS = ("iid", "dirichlet-0.6", "dirichlet-0.3", "dirichlet-0.1")
SEEDS = (0, 1, 2)
MINIMUM = 10


class Split(NamedTuple):
    """How images are spread.

    Attributes:
        scheme: By the name of the partition.
        sites: How many.
        covariance: Images from which on a site tells correlations.
        images: The first so many at random; None is all.
    """

    scheme: str
    sites: int = 5
    covariance: int = 100
    images: int | None = None

    def __str__(self) -> str:
        part = "" if self.images is None else f", of {self.images}"
        silent = "" if self.covariance == 100 else f", {self.covariance} to tell"
        return f"{self.scheme}, {self.sites} sites{part}{silent}"


FEW_CLASSES = [Split(scheme) for scheme in SKEWS]
# Two classes cannot be spread over so many sites.
MORE_CLASSES = [
    *FEW_CLASSES,
    *(Split("dirichlet-0.3", sites) for sites in (2, 10, 20, 50)),
    *(Split("dirichlet-0.3", sites, 1000) for sites in (5, 10, 50)),
    *(Split(scheme, images=count) for scheme in ("iid", "dirichlet-0.3") for count in (1000, 2000)),
]


def main() -> None:
    """Measure every split and write one JSON file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--table", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for path in options.data:
        images = load_medmnist(path).train
        features = _features(images)
        for split in MORE_CLASSES if len(images.class_names) > 2 else FEW_CLASSES:
            found[f"{path.stem}, {split}"] = [
                largest_ratios(images, features, split, seed) for seed in SEEDS
            ]
    if options.table:
        spec, reading = ImageSpec.of(1, 32), Reading(fit="crop")
        images = load_table(options.table, spec=spec, reading=reading).train
        key = f"{options.table.parent.name}, natural"
        found[key] = [largest_ratios(images, _features(images), Split("natural"), 0)]
    told = {
        key: {"sites": [a for a, _ in both], "classes": [b for _, b in both]}
        for key, both in found.items()
    }
    write_json(options.out, {"seeds": list(SEEDS), "largest_ratio": told})


def largest_ratios(
    images: ImageSet, features: np.ndarray, split: Split, seed: int
) -> tuple[float, float]:
    """The largest D/E and D'/E' of one split."""
    if split.images is not None:
        chosen = numpy_generator(seed, "part").permutation(len(images))[: split.images]
        images, features = images.subset(chosen), features[chosen]
    own_seed = derive_seed(seed, "partition")
    parts = partition(images, scheme=split.scheme, sites=split.sites, seed=own_seed)
    counts, moments = [], []
    for part in parts:
        labels, classes = images.labels[part], len(images.class_names)
        told = feature_moments(
            features[part],
            labels,
            classes=classes,
            minimum=MINIMUM,
            minimum_covariance=split.covariance,
        )
        own = np.bincount(labels, minlength=classes)
        counts.append(np.where(own >= MINIMUM, own, 0))
        moments.append(told)
    sizes = torch.from_numpy(np.stack(counts)).float()
    shifted = shifted_moments(moments, sizes)
    return round(float(shifted.ratios.max()), 3), round(float(shifted.class_ratios.max()), 3)


def _features(images: ImageSet) -> np.ndarray:
    channels, size_px = images.images.shape[1:3]
    pixels = normalise(images.images, ImageSpec.of(channels, size_px))
    return Descriptor(channels, size_px)(pixels).numpy()


if __name__ == "__main__":
    main()
