"""Volumes that are wrong on purpose: what each metric has to find, beside the sets in question.

All are made of real volumes that trained nothing, except for `copied`, which is made of training
volumes. They stay within 0..1, and 0 outside the brain.
"""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from envoi.evaluation.arrays import Volumes
from envoi.volumes import Voxels

BLUR_VOXELS = 0.8
NOISE = 0.05
SHUFFLED_SLICES = 4
SEAM_CONTRAST = 0.08
SLAB_SLICES = 12
SHRUNK = 0.9
COPY_NOISE = 0.02
FAINTEST = 1e-3

Control = Callable[[Volumes, np.random.Generator], Volumes]


def blurred(volumes: Volumes, _: np.random.Generator) -> Volumes:
    """Smoothed by a Gaussian of 0.8 voxels: no fine detail."""
    smooth = np.stack([gaussian_filter(voxels, BLUR_VOXELS) for voxels in volumes])
    return _within(smooth, volumes)


def noisy(volumes: Volumes, draws: np.random.Generator) -> Volumes:
    """With noise of 0.05: detail that no brain has."""
    return _with_noise(volumes, NOISE, draws)


def shuffled(volumes: Volumes, draws: np.random.Generator) -> Volumes:
    """Axial slices in another order within groups of four: each slice is real, no column is."""
    order = np.arange(volumes.shape[1])
    for start in range(0, len(order), SHUFFLED_SLICES):
        group = slice(start, start + SHUFFLED_SLICES)
        order[group] = draws.permutation(order[group])
    return volumes[:, order]


def seamed(borders: tuple[int, ...]) -> Control:
    """Windows between borders in turn brighter and darker, every second one a voxel aside."""

    def control(volumes: Volumes, _: np.random.Generator) -> Volumes:
        made = volumes.copy()
        for number, window in enumerate(np.split(made, borders, axis=1)):
            contrast = SEAM_CONTRAST if number % 2 else -SEAM_CONTRAST
            window[:] = np.roll(window, number % 2, axis=-1) * np.float32(1 + contrast)
        return np.minimum(made, np.float32(1))

    return control


def seamed_anywhere(volumes: Volumes, draws: np.random.Generator) -> Volumes:
    """Slabs of 12 slices in turn brighter and darker, at a place and in a plane of each volume.

    So a model's slabs meet that begin anywhere: no slice has a seam in all volumes.
    """
    made = volumes.copy()
    for voxels in made:
        slices = np.moveaxis(voxels, int(draws.integers(3)), 0)
        slab = (np.arange(len(slices)) + int(draws.integers(SLAB_SLICES))) // SLAB_SLICES
        contrast = np.where(slab % 2, SEAM_CONTRAST, -SEAM_CONTRAST).astype(np.float32)
        slices *= 1 + contrast[:, None, None]
    return np.minimum(made, np.float32(1))


def shrunk(volumes: Volumes, _: np.random.Generator) -> Volumes:
    """Brains of nine tenths of their size: tissue volumes of 73 %."""
    return np.stack([_shrunk(voxels) for voxels in volumes])


def collapsed(volumes: Volumes, draws: np.random.Generator) -> Volumes:
    """One volume over and over, with faint noise: no variety."""
    return _with_noise(np.repeat(volumes[:1], len(volumes), axis=0), COPY_NOISE, draws)


def copied(training: Volumes, draws: np.random.Generator) -> Volumes:
    """Training volumes mirrored, moved by one voxel and with faint noise."""
    moved = np.roll(training[..., ::-1], (1, -1, 1), axis=(1, 2, 3))
    return _with_noise(moved, COPY_NOISE, draws)


def _with_noise(volumes: Volumes, deviation: float, draws: np.random.Generator) -> Volumes:
    noise = draws.standard_normal(volumes.shape, dtype=np.float32) * np.float32(deviation)
    return _within(volumes + noise, volumes)


def _within(made: Volumes, volumes: Volumes) -> Volumes:
    """`made` where `volumes` have brain: never 0 there, so that the brain keeps its size."""
    return np.where(volumes > 0, made.clip(FAINTEST, 1), np.float32(0)).astype(np.float32)


def _shrunk(voxels: Voxels) -> Voxels:
    """The volume at nine tenths of its size, in the middle of zeros."""
    small = zoom(voxels, SHRUNK, order=1)
    inside = zoom((voxels > 0).astype(np.uint8), SHRUNK, order=0) > 0
    before = [(whole - part) // 2 for whole, part in zip(voxels.shape, small.shape, strict=True)]
    place = tuple(slice(off, off + part) for off, part in zip(before, small.shape, strict=True))
    made = np.zeros_like(voxels)
    made[place] = np.where(inside, small.clip(FAINTEST, 1), 0)
    return made
