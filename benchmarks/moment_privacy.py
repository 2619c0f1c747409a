"""What moments betray: can whoever holds an image tell whether it was among a site's?

    python benchmarks/moment_privacy.py skin28.npz --out benchmarks/results/moment_privacy.json

A site of n images sends its moments. The attacker has those and an image with its label, and
scores it by its Mahalanobis distance from the site's class mean: images that shaped the
covariance lie nearer than others. Told as the area under the ROC curve over the site's images
against as many that it never had (0.5 is guessing), with all correlations, with 64 common factors
of them (`moment_rank`), and without, as they leave a site of too few images.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float
from sklearn.metrics import roc_auc_score
from torch import Tensor

from envoi.data import load_medmnist
from envoi.files import write_json
from envoi.networks.descriptor import Descriptor
from envoi.seeding import numpy_generator
from envoi.site.audit import nearness
from envoi.site.moments import feature_moments
from envoi.submission import Moments
from envoi.transforms import normalise
from envoi.types import ImageSpec

SIZES = (100, 200, 400, 700, 1000, 2000, 3500)
SEEDS = (0, 1, 2)
_NOTHING, _ALL = None, 0
WAYS = {"correlations": _ALL, "64 factors": 64, "deviations alone": _NOTHING}


def main() -> None:
    """Measure every size with every seed and write one JSON file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    data = load_medmnist(options.data).train
    channels, size_px = data.images.shape[1:3]
    pixels = normalise(data.images, ImageSpec.of(channels, size_px))
    features = Descriptor(channels, size_px)(pixels)
    found = {
        name: {
            str(size): [_auc(features, data.labels, size, seed, rank) for seed in SEEDS]
            for size in SIZES
            if 2 * size <= len(features)
        }
        for name, rank in WAYS.items()
    }
    result = {"data": options.data.stem, "features": features.shape[1], "auc": found}
    write_json(options.out, result)


def _auc(
    features: Float[Tensor, "image feature"],
    labels: np.ndarray,
    size: int,
    seed: int,
    rank: int | None,
) -> float:
    order = numpy_generator(seed, "members", size).permutation(len(features))
    members, others = order[:size], order[size : 2 * size]
    moments = feature_moments(
        features[members].numpy(),
        labels[members],
        classes=int(labels.max()) + 1,
        minimum=10,
        minimum_covariance=10**9 if rank is _NOTHING else 2,
    )
    if rank:
        moments = Moments.taken_from(moments.encoded(rank)) or moments
    told = moments.means.any(dim=1).numpy()[labels]
    scores = [
        nearness(moments, features[rows], labels[rows])
        for rows in (members[told[members]], others[told[others]])
    ]
    truth = [np.ones(len(scores[0])), np.zeros(len(scores[1]))]
    return round(float(roc_auc_score(np.concatenate(truth), np.concatenate(scores))), 3)


if __name__ == "__main__":
    main()
