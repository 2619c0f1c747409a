"""Which of a site's images only validate: disjoint by patient wherever patients are known."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from envoi.errors import EnvoiWarning
from envoi.types import ImageSet

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Indices of the images that train and of those that only validate, in shuffled order."""

    training: Indices
    validation: Indices


def split(images: ImageSet, fraction: float, generator: torch.Generator) -> Split:
    """The first `fraction` of the shuffled images validates, whole patients where known.

    Patients are taken in shuffled order as long as the part stays within the fraction; if none
    fits, the smallest is taken. A site that cannot be split (one image, or all of one patient)
    trains on everything, with a warning.

    Args:
        images: All images of the site.
        fraction: Part that validates, 0 up to below 1; 0 asks for no validation.
        generator: Draws the order.
    """
    order = torch.randperm(len(images), generator=generator).numpy()
    if fraction == 0:
        return Split(order, order[:0])
    groups = np.arange(len(images)) if images.patients is None else images.patients
    ranked, first, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    if len(ranked) < 2:
        found = "one image" if len(images) == 1 else "images of one patient"
        warnings.warn(
            f"The site has only {found}, so nothing is left to validate with: no validation "
            "accuracy, no early stopping and no temperature. Add images of other patients.",
            EnvoiWarning,
            stacklevel=2,
        )
        return Split(order, order[:0])
    shuffled = np.argsort(first)
    chosen = _within(sizes[shuffled], max(1, round(fraction * len(images))))
    held = np.isin(groups[order], ranked[shuffled][chosen])
    return Split(order[~held], order[held])


def _within(sizes: Indices, limit: int) -> list[int]:
    """Positions of the groups that fit into `limit` images, first come first served."""
    chosen: list[int] = []
    held = 0
    for position, size in enumerate(sizes.tolist()):
        if held + size <= limit and len(chosen) < len(sizes) - 1:
            chosen.append(position)
            held += size
    return chosen or [int(np.argmin(sizes))]
