"""How far sites are from one another, in units of what chance explains.

    python benchmarks/shift.py skin28.npz pneumoniamnist.npz --out benchmarks/results/shift.json

Told are the largest D/E and D'/E' over sites (`envoi.server.shift`: offsets of sites, and what
their classes differ by beside that), for splits of one source by label and for the sites that a
table's own column names (`--table`, read at 32 pixels, grey). The method believes in differences
from 2 on.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from envoi.data import Reading, load_medmnist, load_table
from envoi.files import write_json
from envoi.networks.descriptor import Descriptor
from envoi.seeding import derive_seed
from envoi.server.shift import shifted_moments
from envoi.simulation.partition import partition
from envoi.site.moments import feature_moments
from envoi.transforms import normalise
from envoi.types import ImageSet, ImageSpec

SKEWS = ("iid", "dirichlet-0.6", "dirichlet-0.3", "dirichlet-0.1")
MANY = (2, 10, 20, 50)
SEEDS = (0, 1, 2)
MINIMUM, MINIMUM_COVARIANCE = 10, 100


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
        splits = [(scheme, 5) for scheme in SKEWS]
        if len(images.class_names) > 2:  # two classes cannot be spread so over many sites
            splits += [("dirichlet-0.3", sites) for sites in MANY]
        features = _features(images)
        for scheme, sites in splits:
            key = f"{path.stem}, {scheme}, {sites} sites"
            found[key] = [largest_ratios(images, features, scheme, sites, seed) for seed in SEEDS]
    if options.table:
        spec, reading = ImageSpec.of(1, 32), Reading(fit="crop")
        images = load_table(options.table, spec=spec, reading=reading).train
        key = f"{options.table.parent.name}, natural"
        found[key] = [largest_ratios(images, _features(images), "natural", 1, 0)]
    told = {
        key: {"sites": [a for a, _ in both], "classes": [b for _, b in both]}
        for key, both in found.items()
    }
    write_json(options.out, {"seeds": list(SEEDS), "largest_ratio": told})


def largest_ratios(
    images: ImageSet, features: np.ndarray, scheme: str, sites: int, seed: int
) -> tuple[float, float]:
    """The largest D/E and D'/E' of one split."""
    parts = partition(images, scheme=scheme, sites=sites, seed=derive_seed(seed, "partition"))
    counts, moments = [], []
    for part in parts:
        labels, classes = images.labels[part], len(images.class_names)
        told = feature_moments(
            features[part],
            labels,
            classes=classes,
            minimum=MINIMUM,
            minimum_covariance=MINIMUM_COVARIANCE,
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
