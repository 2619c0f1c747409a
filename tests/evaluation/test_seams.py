"""Seams are found wherever they are, and nothing else is taken for one."""

import numpy as np
import pytest

from envoi.evaluation import controls
from envoi.evaluation.seams import (
    real_steps,
    seam_scores,
    seams_anywhere,
    step_readings,
)
from envoi.evaluation.through_plane import seam_index
from envoi.mri.phantoms import draw_phantoms

SHAPE, SPACING_MM = (40, 48, 40), 4.8


@pytest.fixture(scope="module")
def phantoms():
    made = draw_phantoms(26, 0, SHAPE, SPACING_MM)
    return np.stack([one.subject.volume.voxels for one in made])


@pytest.fixture(scope="module")
def readings(phantoms):
    return step_readings(phantoms)


@pytest.fixture(scope="module")
def chance(readings):
    """What eight brains score beside the others, many times: 95 % of it."""
    draws, found = np.random.default_rng(0), []
    for _ in range(100):
        order = draws.permutation(len(readings))
        some, others = readings[order[:8]], readings[order[8:]]
        found.append(seam_scores(some, real_steps(others)).mean())
    return np.percentile(found, (2.5, 97.5))


@pytest.fixture(scope="module")
def real(readings):
    return real_steps(readings[8:])


@pytest.fixture(scope="module")
def unseen(phantoms):
    return phantoms[:8]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_steps_of_eight_percent_are_found_in_any_plane_at_any_slice(unseen, real, chance, seed):
    seamed = controls.seamed_anywhere(unseen, np.random.default_rng(seed))
    borders = tuple(range(8, SHAPE[0], 8))
    assert seam_index(seamed, borders) < seam_index(unseen, borders) + 0.1
    assert chance[0] < seams_anywhere(unseen, real) < chance[1]
    assert seams_anywhere(seamed, real) > 1.5 * chance[1]
    alone = seam_scores(step_readings(seamed), real)
    assert (alone > seam_scores(step_readings(unseen), real).max()).mean() > 0.8


def test_slabs_that_are_a_voxel_aside_are_found(unseen, real, chance):
    aside = unseen.copy()
    for voxels in aside:
        for start in range(5, SHAPE[2], 24):
            voxels[:, :, start : start + 12] = np.roll(voxels[:, :, start : start + 12], 1, axis=0)
    assert seams_anywhere(aside, real) > 1.2 * chance[1]


@pytest.mark.parametrize("name", ["noisy", "blurred"])
def test_what_is_alike_everywhere_is_no_seam(unseen, real, chance, name):
    wrong = getattr(controls, name)(unseen, np.random.default_rng(0))
    assert seams_anywhere(wrong, real) < 1.25 * chance[1]


def test_noise_does_not_hide_a_seam(unseen, real, chance):
    seamed = controls.seamed_anywhere(unseen, np.random.default_rng(0))
    assert seams_anywhere(controls.noisy(seamed, np.random.default_rng(0)), real) > 1.5 * chance[1]


def test_readings_are_the_steps_beyond_their_neighbours():
    line = np.array([0.3, 0.3, 0.3, 0.4, 0.6, 0.6, 0.6], np.float32)
    volumes = np.zeros((1, 7, 9, 9), np.float32)
    volumes[0, :, 1:8, 1:8] = line[:, None, None]
    brightness, jump = step_readings(volumes)[0, 0]
    mean = line.mean()
    wanted = np.array([-0.05, 0, 0.15, -0.1]) / mean  # steps 0, 0, 0.1, 0.2, 0, 0
    np.testing.assert_allclose(brightness[1:5], wanted, atol=1e-6)
    np.testing.assert_allclose(jump[2:4], np.log([0.1 / 0.1, 0.2 / 0.05]), atol=1e-4)
    assert np.isnan(brightness[[0, 5, 6, 7, 8]]).all()


def test_few_people_and_flat_volumes_have_finite_scores():
    flat = np.full((3, 16, 20, 18), 0.5, np.float32)
    steps = real_steps(step_readings(flat))
    assert seams_anywhere(flat, steps) == 0
    rough = np.random.default_rng(0).uniform(0.1, 1, (4, 16, 20, 18)).astype(np.float32)
    assert np.isfinite(seams_anywhere(rough, real_steps(step_readings(rough))))
    assert seams_anywhere(rough, steps) == 0  # real people who do not differ tell nothing
