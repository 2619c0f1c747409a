"""Slices of volumes in the three planes, all on squares of one size."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from envoi.evaluation.arrays import Volumes
from envoi.evaluation.scores import PLANES, Plane

LEAST_BRAIN = 0.3

Slices = Float[NDArray[np.float32], "_slice _side _side"]
Indices = Int[NDArray[np.int64], " _slice"]


@dataclass(frozen=True, slots=True, eq=False)
class PlaneSlices:
    """Slices of one plane.

    Attributes:
        pixels: `(slice, side, side)`, in the middle of a square as large as the volume's longest
            side, so that a slice's shape does not tell its plane.
        volumes: Which volume each is of.
        positions: Where along the volume, from 0 to 1.
    """

    pixels: Slices
    volumes: Indices
    positions: Float[NDArray[np.float32], " _slice"]


def plane_slices(volumes: Volumes, plane: Plane) -> PlaneSlices:
    """Slices with at least 30 % of the brain that the fullest slice of their volume has."""
    turned = turned_to(volumes, plane)
    brain = (turned > 0).sum(axis=(2, 3))
    numbers, places = np.nonzero(brain >= LEAST_BRAIN * brain.max(axis=1, keepdims=True))
    positions = places / max(1, turned.shape[1] - 1)
    pixels = squared(turned[numbers, places], max(volumes.shape[1:]))
    return PlaneSlices(pixels, numbers.astype(np.int64), positions.astype(np.float32))


def turned_to(volumes: Volumes, plane: Plane) -> Volumes:
    """The same volumes, indexed by `(volume, slice of the plane, row, column)`."""
    return np.moveaxis(volumes, PLANES.index(plane) + 1, 1)


def squared(slices: Float[NDArray[np.float32], "_slice _row _column"], side: int) -> Slices:
    """Slices in the middle of squares of zeros."""
    rows, columns = slices.shape[1:]
    above, before = (side - rows) // 2, (side - columns) // 2
    square = np.zeros((len(slices), side, side), dtype=np.float32)
    square[:, above : above + rows, before : before + columns] = slices
    return square
