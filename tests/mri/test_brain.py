"""Where a drawn brain ends: by how faint the brains are that a model learnt from."""

import numpy as np
import pytest

from envoi.errors import DataError
from envoi.mri.brain import FAINTEST, as_volume, completed, faintest_of
from envoi.volumes import Grid, Subject, Volume

GRID = Grid((6, 6, 6), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))


def brain_of(intensity):
    voxels = np.zeros(GRID.shape, np.float32)
    voxels[1:5, 1:5, 1:5] = intensity
    return voxels


def subject(voxels, name="sub-1"):
    return Subject(name, Volume(voxels, GRID), None, None)


def test_the_faintest_is_what_hardly_a_voxel_falls_short_of_in_most_people():
    values = np.linspace(0.2, 1.0, 64, dtype=np.float32).reshape(4, 4, 4)
    usual, odd = subject(brain_of(values)), subject(brain_of(0.9))
    assert faintest_of([usual, usual, odd]) == pytest.approx(0.2 + 0.008, abs=1e-3)
    assert faintest_of([odd]) == pytest.approx(0.9)
    assert faintest_of([subject(np.zeros(GRID.shape, np.float32))]) == FAINTEST


def test_unrest_around_a_brain_is_background_and_a_dark_hole_within_is_not():
    drawn = brain_of(0.8)
    drawn[0], drawn[2, 2, 2] = 0.15, 0.1
    kept = as_volume(drawn, GRID, 0.2).voxels
    assert not kept[0].any()
    assert kept[2, 2, 2] == np.float32(0.1)
    assert (kept > 0).sum() == 64
    assert as_volume(drawn, GRID, 0.05).voxels[0].all()
    with pytest.raises(DataError, match="nothing above the background"):
        as_volume(drawn, GRID, 0.9)


def test_known_voxels_are_kept_however_faint():
    scan = Volume(brain_of(0.15), GRID)
    known = np.zeros(GRID.shape, bool)
    known[1:3] = True
    whole = completed(brain_of(0.8), scan, known, 0.2)
    assert np.array_equal(whole.voxels[1:3], scan.voxels[1:3])
    assert (whole.voxels[3:5, 1:5, 1:5] == np.float32(0.8)).all()
