"""The synthetic volumes that are nearest to a training volume, each beside its neighbour."""

from dataclasses import dataclass

import numpy as np

from envoi.evaluation.arrays import coarse_block
from envoi.evaluation.scores import Copies, Neighbour, VolumeScores
from envoi.report.gallery import EmbeddedPicture
from envoi.report.volumes.atlas import middles, picture, sheet
from envoi.report.volumes.sets import VolumeSets
from envoi.volumes import Voxels

SHOWN = 6


@dataclass(frozen=True, slots=True)
class Pair:
    """A synthetic volume and its nearest training volume.

    Attributes:
        picture: The synthetic one above, laid over as it was found, the training one below.
        title: Which volumes they are.
        words: How near they are, and how near is too near.
        copied: Whether it counts as a copy.
    """

    picture: EmbeddedPicture
    title: str
    words: str
    copied: bool


def nearest_pairs(scores: VolumeScores, sets: VolumeSets) -> tuple[Pair, ...]:
    """The six whose distance is smallest beside that of the next training volumes.

    In the space that finds most copies; of equal ones in voxels, which eyes can follow.
    """
    found = max(scores.synthetic.copies, key=lambda one: (one.copied, one.space == "voxels"))
    closest = sorted(found.neighbours, key=lambda one: (one.ratio, one.volume))[:SHOWN]
    return tuple(_pair(one, found, sets) for one in closest)


def laid_over(voxels: Voxels, neighbour: Neighbour, block: int) -> Voxels:
    """A volume flipped and moved as its neighbour was found.

    Args:
        voxels: The volume.
        neighbour: What was found.
        block: Voxels along each side of a voxel of the resolution that was compared.
    """
    turned = voxels[..., ::-1] if neighbour.flipped else voxels
    moved: Voxels = np.roll(turned, [block * step for step in neighbour.shift], axis=(0, 1, 2))
    return moved


def summary(scores: VolumeScores) -> tuple[str, ...]:
    """What each space finds, with its thresholds."""
    return tuple(
        f"In {one.features}: {one.copied} copied, {one.near} near. Near is a distance below "
        f"{one.distance_threshold:.3g}; a copy's ratio is also below {one.ratio_threshold:.3g}."
        for one in scores.synthetic.copies
    )


def _pair(neighbour: Neighbour, found: Copies, sets: VolumeSets) -> Pair:
    block = coarse_block(sets.grid.shape)
    ours = laid_over(sets.synthetic[neighbour.volume], neighbour, block)
    theirs = sets.training[neighbour.training]
    title = f"Synthetic {neighbour.volume + 1}, training {neighbour.training + 1}, by {found.space}"
    drawn = sheet([middles(ours, sets.grid), middles(theirs, sets.grid)])
    words = _words(neighbour, found, block)
    return Pair(picture(drawn, title), title, words, found.is_copy(neighbour))


def _words(neighbour: Neighbour, found: Copies, block: int) -> str:
    near = "below" if found.is_near(neighbour) else "not below"
    low = "below" if found.has_low_ratio(neighbour) else "not below"
    return (
        f"Distance {neighbour.distance:.3f}, {near} {found.distance_threshold:.3f}; ratio "
        f"{neighbour.ratio:.2f}, {low} {found.ratio_threshold:.2f}. {_moved(neighbour, block)}"
    )


def _moved(neighbour: Neighbour, block: int) -> str:
    flipped = "mirrored" if neighbour.flipped else ""
    steps = [
        f"{abs(step) * block} {ways[step > 0]}"
        for step, ways in zip(
            neighbour.shift, (("down", "up"), ("back", "forward"), ("left", "right")), strict=True
        )
        if step
    ]
    shift = f"moved by voxels: {', '.join(steps)}" if steps else ""
    told = " and ".join(part for part in (flipped, shift) if part)
    return f"Nearest when {told}." if told else "Nearest as it is."
