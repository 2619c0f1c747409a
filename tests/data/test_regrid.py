"""Grids: what is where stays there, whatever the size of a voxel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.data.regrid import MOST_VOXELS, Placed, fitted, resampled, straightened
from envoi.errors import DataError
from envoi.volumes import Grid

quick = settings(derandomize=True, deadline=None, max_examples=25)


def ball(spacing_mm=(2.0, 2.0, 2.0), *, radius_mm=30.0, centre_mm=(4.0, -6.0, 8.0)):
    """A ball of 0.5 in a box of 96 mm whose lower corner lies at -48."""
    shape = tuple(round(96 / size) for size in spacing_mm)
    origin = tuple(-48 + size / 2 for size in reversed(spacing_mm))
    grid = Grid(shape, spacing_mm, origin)
    inside = np.linalg.norm(world(grid) - np.reshape(centre_mm, (3, 1, 1, 1)), axis=0) < radius_mm
    return Placed(np.where(inside, 0.5, 0).astype(np.float32), grid)


def world(grid):
    """`(3, depth, height, width)`: right, anterior, superior of each voxel."""
    axes = [
        origin + size * np.arange(count)
        for origin, size, count in zip(
            reversed(grid.origin_mm), grid.spacing_mm, grid.shape, strict=True
        )
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij")[::-1])


def centre(placed):
    weights = placed.voxels / placed.voxels.sum()
    return (world(placed.grid) * weights).sum(axis=(1, 2, 3))


@quick
@given(st.floats(1.3, 6.0))
def test_place_volume_and_brightness_stay_at_any_spacing(spacing_mm):
    old = ball()
    new = resampled(old, spacing_mm)
    assert new.grid.spacing_mm == (spacing_mm,) * 3
    np.testing.assert_allclose(centre(new), centre(old), atol=0.2 + 0.1 * spacing_mm)
    volumes = [(p.voxels > 0).sum() * p.grid.voxel_ml for p in (old, new)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.05)
    np.testing.assert_allclose(new.voxels[new.voxels > 0], 0.5, atol=1e-5)


def test_a_whole_factor_is_the_mean_of_each_block():
    voxels = np.random.default_rng(0).uniform(1, 2, (4, 6, 8)).astype(np.float32)
    new = resampled(Placed(voxels, Grid((4, 6, 8), (1.0, 1.0, 1.0), (5.0, 6.0, 7.0))), 2.0)
    blocks = voxels.reshape(2, 2, 3, 2, 4, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(new.voxels, blocks, rtol=1e-6)
    assert new.grid == Grid((2, 3, 4), (2.0, 2.0, 2.0), (5.5, 6.5, 7.5))


def test_a_block_that_hardly_touches_the_brain_is_outside():
    voxels = np.zeros((2, 2, 4), np.float32)
    voxels[:, :, 1:] = 3
    voxels[0, 0, 1] = 0
    new = resampled(Placed(voxels, Grid((2, 2, 4), (1.0, 1.0, 1.0))), 2.0)
    assert new.voxels.tolist() == [[[0, 3]]]  # 3 of 8 voxels, and 8 of 8


def test_each_axis_has_a_factor_of_its_own():
    new = resampled(ball((6.0, 1.0, 2.0)), 3.0)
    assert new.grid.shape == (32, 32, 32)
    np.testing.assert_allclose(centre(new), (4, -6, 8), atol=0.3)


def test_fine_stripes_do_not_alias():
    stripes = 1 + (np.arange(60) % 2).astype(np.float32)
    voxels = np.broadcast_to(stripes, (60, 60, 60)).copy()
    new = resampled(Placed(voxels, Grid((60, 60, 60), (1.0, 1.0, 1.0))), 2.5)
    assert np.ptp(new.voxels[:, :, 1:-1]) < 0.1


def test_the_spacing_it_has_changes_nothing():
    old = ball()
    new = resampled(old, 2.0)
    assert (new.voxels == old.voxels).all()
    assert new.grid == old.grid


def test_a_grid_too_large_is_refused_before_it_is_made():
    with pytest.raises(DataError) as caught:
        resampled(ball(), 0.01)
    assert f"expected a grid of at most {MOST_VOXELS} voxels" in str(caught.value)
    assert "found 9600 x 9600 x 9600. Choose a larger --spacing-mm" in str(caught.value)
    with pytest.raises(DataError, match="expected a grid of at most"):
        straightened(ball().voxels, np.eye(4), 0.01)


def turned(degrees, spacing_mm=2.0):
    """An affine tilted about the axis from left to right, its box around the origin."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = spacing_mm * np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    affine[:3, 3] = affine[:3, :3] @ [-23.5, -23.5, -23.5]
    return affine


@pytest.mark.parametrize("spacing_mm", [2.0, 3.0, 4.0])
def test_a_tilted_scan_is_set_upright(spacing_mm):
    affine = turned(20)
    indices = np.stack(np.meshgrid(*[np.arange(48)] * 3, indexing="ij")).reshape(3, -1)
    place = (affine[:3, :3] @ indices + affine[:3, 3:]).reshape(3, 48, 48, 48)
    off = np.linalg.norm(place - np.reshape([4.0, -6.0, 8.0], (3, 1, 1, 1)), axis=0)
    new = straightened(np.where(off < 30, 0.5, 0).astype(np.float32), affine, spacing_mm)
    np.testing.assert_allclose(centre(new), (4, -6, 8), atol=0.3)
    volume_ml = (new.voxels > 0).sum() * new.grid.voxel_ml
    assert volume_ml == pytest.approx(4 / 3 * np.pi * 27, rel=0.05)
    np.testing.assert_allclose(new.voxels[new.voxels > 0], 0.5, atol=1e-4)
    distance = np.linalg.norm(world(new.grid) - np.reshape([4.0, -6.0, 8.0], (3, 1, 1, 1)), axis=0)
    assert distance[new.voxels > 0].max() < 30 + spacing_mm


def test_a_scan_that_stands_upright_is_straightened_to_what_resampling_gives():
    old = ball()
    new = straightened(old.voxels.T, old.grid.affine, 2.0)
    assert new.grid == old.grid
    np.testing.assert_allclose(new.voxels, old.voxels, atol=1e-6)


@pytest.mark.parametrize("shape", [(31, 32, 33), (40, 36, 64), (96, 31, 31)])
def test_the_middle_of_the_brain_becomes_the_middle_of_the_box(shape):
    old = ball()
    new = fitted(old, shape, where="scan")
    assert new.grid.shape == new.voxels.shape == shape
    np.testing.assert_allclose(centre(new), centre(old), atol=1e-4)
    assert new.voxels.sum() == pytest.approx(old.voxels.sum())
    held = np.argwhere(new.voxels)
    middle = (held.min(axis=0) + held.max(axis=0)) / 2
    np.testing.assert_allclose(middle, (np.array(shape) - 1) / 2, atol=0.51)


def test_a_brain_is_never_cut():
    with pytest.raises(DataError) as caught:
        fitted(ball(), (64, 64, 20), where="scan")
    assert str(caught.value) == (
        "scan: expected a brain of at most 64 x 64 x 20 voxels, found one of 30 x 30 x 30. "
        "Choose a larger --shape or --spacing-mm (in Python, shape and spacing_mm)."
    )
