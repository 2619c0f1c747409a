import numpy as np
import pytest

from envoi.errors import ShapeError
from envoi.evaluation.copies import Move, feature_copies, nearest, voxel_copies
from envoi.evaluation.extractors import random_conv
from tests.evaluation.phantoms import heads


@pytest.fixture(scope="module")
def people():
    """Training, held-out and other volumes."""
    return heads(12), heads(8, seed=1), heads(8, seed=2)


@pytest.fixture(scope="module")
def searches(people):
    training, held_out, _ = people
    return {
        "voxels": voxel_copies(training, held_out),
        "features": feature_copies(training, held_out, random_conv()),
    }


def planted(volume, *, shift, noise, seed=0):
    """A volume mirrored, moved and made noisy."""
    moved = np.roll(volume[..., ::-1], shift, axis=(0, 1, 2))
    noisy = moved + noise * np.random.default_rng(seed).normal(size=moved.shape)
    return np.where(moved > 0, noisy.clip(0.01, 1), 0).astype(np.float32)


@pytest.mark.parametrize("space", ["voxels", "features"])
def test_a_planted_copy_is_found(people, searches, space):
    training, _, others = people
    copy = planted(training[7], shift=(1, -1, 1), noise=0.02)
    found = searches[space].find(np.concatenate([others, copy[None]]))
    last = found.neighbours[-1]
    assert (found.space, last.volume, last.training, last.flipped) == (space, 8, 7, True)
    # Back to where it was, mirroring having turned left and right; features are centred first.
    assert last.shift == ((-1, 1, 1) if space == "voxels" else (0, 0, 0))
    assert last.distance < found.distance_threshold
    assert last.ratio < found.ratio_threshold
    assert 1 <= found.copied <= 3


def test_other_people_are_hardly_ever_copies(people, searches):
    _, _, others = people
    for search in searches.values():
        found = search.find(others)
        assert found.copied <= found.near <= 3
        assert len(found.neighbours) == 8


def test_every_copy_is_counted(people, searches):
    training = people[0]
    found = searches["voxels"].find(training)
    assert found.near == found.copied == 12
    assert [one.training for one in found.neighbours] == list(range(12))
    assert [one.shift for one in found.neighbours] == [(0, 0, 0)] * 12
    assert max(one.distance for one in found.neighbours) < 1e-3


def test_the_mean_is_near_but_no_copy(people, searches):
    training = people[0]
    blurred = (training * 0.2 + training.mean(axis=0) * 0.8).astype(np.float32)
    found = searches["voxels"].find(blurred)
    assert found.near >= 4
    assert found.copied < found.near / 2


def test_distances_are_root_mean_squares_away_from_the_edges():
    generator = np.random.default_rng(0)
    training, held_out = (generator.random((3, 16, 16, 16), dtype=np.float32) for _ in range(2))
    first = nearest(voxel_copies(training, held_out).search, held_out[:1])[0]
    inner = (slice(2, -2),) * 3
    moved = np.roll(
        held_out[0][..., ::-1] if first.flipped else held_out[0], first.shift, (0, 1, 2)
    )
    difference = moved[inner] - training[first.training][inner]
    assert first.distance == pytest.approx(np.sqrt((difference**2).mean()), rel=1e-3)


def test_thresholds_are_the_fifth_percentiles_of_held_out_volumes(people, searches):
    held_out = people[1]
    for search in searches.values():
        found = search.find(held_out)
        distances = [one.distance for one in found.neighbours]
        assert found.distance_threshold == pytest.approx(np.percentile(distances, 5))
        assert found.ratio_threshold == pytest.approx(
            np.percentile([one.ratio for one in found.neighbours], 5)
        )
        assert found.near == 1


def test_large_volumes_are_averaged_first():
    training = np.random.default_rng(0).random((2, 16, 70, 16), dtype=np.float32)
    search = voxel_copies(training, training[:1])
    assert search.features == "voxels, means of 2 x 2 x 2"
    assert search.find(training).copied == 0  # held-out volumes that are copies hide others
    assert search.distance_threshold < 1e-3


def test_of_equally_near_moves_the_smallest_counts():
    flat = np.full((2, 16, 16, 16), 0.5, np.float32)
    one = nearest(voxel_copies(flat, flat).search, flat)[0]
    assert (one.flipped, one.shift, one.ratio) == (False, (0, 0, 0), 1)
    assert Move(True, (1, -2, 0)).size == 3


def test_bad_input_is_refused(people, searches):
    training, held_out, _ = people
    with pytest.raises(ShapeError, match="at least two training volumes, found 1"):
        voxel_copies(training[:1], held_out)
    for search in searches.values():
        with pytest.raises(ShapeError, match="as the real ones"):
            search.find(held_out[:, 1:])
