"""Whether a set holds copies of training volumes, even mirrored, shifted or noisy ones.

Each volume's nearest training volume is sought, mirrored left to right or not and moved by up to
two voxels along each axis. How near is too near is calibrated on held-out volumes, which cannot
be copies. Distance alone also blames blurred volumes, which are close to everything; so a copy is
also much closer to one training volume than to the next ones. Two spaces: voxels (averaged to
at most 64 a side, so that the search stays cheap) and features of axial slices, which forgive
changes of contrast and of position within the slice.

Finding no copies is no proof of privacy: whole volumes are compared, and not parts of them.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from envoi.errors import Problem, ShapeError
from envoi.evaluation.arrays import Rows, Volumes, block_means, check_same_shape, coarse_block
from envoi.evaluation.extractors import Extractor
from envoi.evaluation.scores import Copies, Neighbour, Space
from envoi.evaluation.slices import squared
from envoi.volumes import Voxels

SHIFT = 2
NEXT = 5
SMOOTHING_VOXELS = 1.0
PERCENTILE = 5.0

Squares = Float[NDArray[np.float64], "_volume _training"]
Distances = Float[NDArray[np.float64], " _training"]


@dataclass(frozen=True, slots=True)
class Move:
    """How a volume is laid over training volumes.

    Attributes:
        flipped: Mirrored left to right, first.
        shift: Voxels along depth, height and width.
    """

    flipped: bool
    shift: tuple[int, int, int]

    @property
    def size(self) -> int:
        """Voxels in all; of equally near moves the smallest counts."""
        return sum(abs(step) for step in self.shift)


Search = Callable[[Volumes], Iterator[tuple[Move, Squares]]]


@dataclass(frozen=True, slots=True, eq=False)
class CopySearch:
    """Training volumes to search in, with what held-out volumes say is near.

    Attributes:
        space: What is compared.
        features: The space in words.
        search: Mean squared differences from all training volumes, move by move.
        distance_threshold: 5th percentile of held-out distances.
        ratio_threshold: 5th percentile of held-out ratios.
    """

    space: Space
    features: str
    search: Search
    distance_threshold: float
    ratio_threshold: float

    def find(self, volumes: Volumes) -> Copies:
        """The nearest training volume of each, and how many are too near.

        Raises:
            ShapeError: The volumes have another shape than the training volumes.
        """
        neighbours = nearest(self.search, volumes)
        found = Copies(
            self.space,
            self.features,
            self.distance_threshold,
            self.ratio_threshold,
            near=0,
            copied=0,
            neighbours=neighbours,
        )
        near, copied = (sum(map(test, neighbours)) for test in (found.is_near, found.is_copy))
        return replace(found, near=near, copied=copied)


def voxel_copies(training: Volumes, held_out: Volumes) -> CopySearch:
    """Copies by voxels: root mean square difference, two voxels at each edge left out.

    Raises:
        ShapeError: There are fewer than two training volumes, or shapes differ.
    """
    block = coarse_block(training.shape[1:])
    coarse = block_means(training, block)
    inner = coarse[:, SHIFT:-SHIFT, SHIFT:-SHIFT, SHIFT:-SHIFT].reshape(len(coarse), -1)
    steps = range(-SHIFT, SHIFT + 1)
    shifts = tuple(itertools.product(steps, steps, steps))

    def search(volumes: Volumes) -> Iterator[tuple[Move, Squares]]:
        check_same_shape(volumes, training, "volumes")
        own = block_means(volumes, block)
        for move in _moves(shifts):
            turned = own[..., ::-1] if move.flipped else own
            yield move, _mean_squares(_moved(turned, move.shift).reshape(len(own), -1), inner)

    words = f"voxels, means of {block} x {block} x {block}" if block > 1 else "voxels"
    return _calibrated("voxels", words, search, training, held_out)


def feature_copies(training: Volumes, held_out: Volumes, extractor: Extractor) -> CopySearch:
    """Copies by features of each axial slice of the centred brains.

    A move along the depth moves the features. Shifts that are reported are those that are left
    after both brains were centred.

    Raises:
        ShapeError: There are fewer than two training volumes, or shapes differ.
    """
    described = _described(training, extractor)
    scale = described.std(axis=(0, 1)) + np.float32(1e-6)
    inner = (described / scale)[:, SHIFT:-SHIFT].reshape(len(training), -1)
    shifts = tuple((step, 0, 0) for step in range(-SHIFT, SHIFT + 1))

    def search(volumes: Volumes) -> Iterator[tuple[Move, Squares]]:
        check_same_shape(volumes, training, "volumes")
        sides = [_described(part, extractor) / scale for part in (volumes, volumes[..., ::-1])]
        for move in _moves(shifts):
            moved = sides[int(move.flipped)][:, _window(volumes.shape[1], move.shift[0])]
            yield move, _mean_squares(moved.reshape(len(volumes), -1), inner)

    words = f"{extractor.name}, centred and smoothed axial slices"
    return _calibrated("features", words, search, training, held_out)


def nearest(search: Search, volumes: Volumes) -> tuple[Neighbour, ...]:
    """The nearest training volume of each volume, over all moves."""
    moves: list[Move] = []
    squares = best = np.zeros((0, 0))
    for number, (move, found) in enumerate(search(volumes)):
        if not moves:
            squares, best = np.full_like(found, np.inf), np.zeros_like(found)
        moves.append(move)
        closer = found < squares
        squares[closer], best[closer] = found[closer], number
    return tuple(
        _neighbour(volume, np.sqrt(squares[volume]), [moves[int(one)] for one in best[volume]])
        for volume in range(len(squares))
    )


def _neighbour(volume: int, distances: Distances, moves: list[Move]) -> Neighbour:
    """The nearest of all training volumes, each at its own best move."""
    order = np.argsort(distances, kind="stable")
    training, distance = int(order[0]), float(distances[order[0]])
    others = float(distances[order[1 : NEXT + 1]].mean())
    move = moves[training]
    ratio = distance / others if others else 1.0
    return Neighbour(volume, training, distance, ratio, move.flipped, move.shift)


def _calibrated(
    space: Space, words: str, search: Search, training: Volumes, held_out: Volumes
) -> CopySearch:
    if len(training) < 2:
        raise ShapeError(
            Problem(
                "at least two training volumes", str(len(training)), "copies", "Give more volumes."
            )
        )
    neighbours = nearest(search, held_out)
    distance = np.percentile([one.distance for one in neighbours], PERCENTILE)
    ratio = np.percentile([one.ratio for one in neighbours], PERCENTILE)
    return CopySearch(space, words, search, float(distance), float(ratio))


def _moves(shifts: Sequence[tuple[int, int, int]]) -> list[Move]:
    """All moves, small ones first."""
    every = [Move(flipped, shift) for flipped in (False, True) for shift in shifts]
    return sorted(every, key=lambda move: move.size)


def _window(size: int, step: int) -> slice:
    """The part of `size` voxels that comes to lie on the inner ones when moved by `step`."""
    return slice(SHIFT - step, size - SHIFT - step)


def _moved(volumes: Volumes, shift: tuple[int, int, int]) -> Volumes:
    """What comes to lie on the inner voxels."""
    _, *sizes = volumes.shape
    down, ahead, right = (_window(size, step) for size, step in zip(sizes, shift, strict=True))
    return volumes[:, down, ahead, right]


def _mean_squares(one: Rows, two: Rows) -> Squares:
    """Mean squared difference of each row of one from each of two.

    One matrix product in single precision: of values up to 1 it leaves distances exact to 0.001.
    """
    squares = (
        np.square(one).sum(axis=1)[:, None] + np.square(two).sum(axis=1)[None] - 2 * one @ two.T
    )
    means: Squares = np.maximum(squares, 0).astype(np.float64) / one.shape[1]
    return means


def _described(
    volumes: Volumes, extractor: Extractor
) -> Float[NDArray[np.float32], "_volume _depth _feature"]:
    """Features of all axial slices, centred and smoothed so that shifts and noise hide no copy."""
    side = max(volumes.shape[1:])
    smooth = (gaussian_filter(_centred(one), SMOOTHING_VOXELS) for one in volumes)
    return np.stack([extractor(squared(one, side)) for one in smooth])


def _centred(voxels: Voxels) -> Voxels:
    """The volume moved by whole voxels, so that its brain is in the middle."""
    middle = np.argwhere(voxels > 0).mean(axis=0)
    steps = np.rint((np.array(voxels.shape) - 1) / 2 - middle).astype(int)
    return np.roll(voxels, tuple(steps), axis=(0, 1, 2))
