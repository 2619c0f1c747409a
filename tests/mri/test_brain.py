"""Where a drawn brain ends: by how faint the brains are that a model learnt from."""

import numpy as np
import pytest

from envoi.errors import DataError
from envoi.mri.brain import FAINTEST, as_volume, completed, faintest_of
from envoi.volumes import Grid, Subject, Volume

GRID = Grid((14, 14, 14), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))
BALL = ((np.indices(GRID.shape) - 6.5) ** 2).sum(axis=0) < 25


def brain_of(intensity):
    return np.where(BALL, np.float32(intensity), np.float32(0))


def subject(voxels, name="sub-1"):
    return Subject(name, Volume(voxels, GRID), None, None)


@pytest.mark.parametrize("bright", [0.3, 0.9])
def test_brains_that_were_learnt_from_keep_their_outline(bright):
    people = [subject(brain_of(intensity)) for intensity in (bright, bright, 1.0)]
    found = as_volume(brain_of(bright), GRID, faintest_of(people)).voxels > 0
    assert np.count_nonzero(found ^ BALL) < 0.1 * BALL.sum()


def test_nobody_tells_no_outline():
    assert faintest_of([subject(np.zeros(GRID.shape, np.float32))]) == FAINTEST


def test_unrest_around_a_brain_is_background_and_a_dark_hole_within_is_not():
    draws = np.random.default_rng(0)
    unrest = np.abs(draws.normal(0, 0.15, GRID.shape)).astype(np.float32)
    drawn = np.where(BALL, np.float32(0.8), unrest)
    drawn[6:8, 6:8, 6:8] = -0.1
    kept = as_volume(drawn, GRID, faintest_of([subject(brain_of(0.8))])).voxels
    assert (kept[BALL] > 0).all()
    assert kept[6, 6, 6] == np.float32(1 / 255)
    assert np.count_nonzero(kept[~BALL]) < 0.05 * BALL.sum() < np.count_nonzero(unrest > 0.2)
    with pytest.raises(DataError, match="nothing above the background"):
        as_volume(drawn, GRID, 0.9)


def test_known_voxels_are_kept_however_faint():
    scan = Volume(brain_of(0.15), GRID)
    known = np.zeros(GRID.shape, bool)
    known[1:7] = True
    whole = completed(brain_of(0.8), scan, known, 0.4)
    assert np.array_equal(whole.voxels[1:7], scan.voxels[1:7])
    assert np.array_equal(whole.voxels[7:], brain_of(0.8)[7:])


def test_a_model_that_draws_outlines_is_taken_at_its_word():
    drawn = brain_of(1 / 255)
    drawn[6, 6, 6] = 0  # a hole
    drawn[0, 0, 0] = 1  # apart from the brain
    kept = as_volume(drawn, GRID, None).voxels
    assert np.array_equal(kept > 0, BALL)
