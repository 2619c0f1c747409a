"""Grids, volumes and subjects: world coordinates, and what is refused."""

import dataclasses

import nibabel
import numpy as np
import pytest

from envoi.errors import DataError
from envoi.volumes import Grid, Subject, Volume, normalised, stacked

GRID = Grid((2, 3, 4), (1.0, 2.0, 3.0), (-10.0, 20.0, -30.0))


def volume(value=0.5, grid=GRID):
    return Volume(np.full(grid.shape, value, np.float32), grid)


def test_the_affine_takes_indices_of_a_file_to_right_anterior_superior():
    # Voxel (depth 1, height 2, width 3) is (3, 2, 1) in a NIfTI file.
    world = GRID.affine @ [3, 2, 1, 1]
    assert world.tolist() == [-10 + 3 * 3, 20 + 2 * 2, -30 + 1, 1]
    assert nibabel.aff2axcodes(GRID.affine) == ("R", "A", "S")


def test_the_volume_of_a_voxel_is_in_millilitres():
    assert GRID.voxel_ml == pytest.approx(0.006)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_both_ends_of_the_range_are_in_it(value):
    assert volume(value).voxels.max() == value


@pytest.mark.parametrize(
    ("value", "found"), [(-0.5, "-0.5 to -0.5"), (1.5, "1.5 to 1.5"), (np.nan, "nan to nan")]
)
def test_voxels_outside_of_the_range_are_refused(value, found):
    with pytest.raises(DataError) as caught:
        volume(value)
    assert str(caught.value) == (
        f"volume: expected voxels from 0 to 1, found {found}. Prepare all volumes the same way."
    )


def test_one_voxel_that_is_not_a_number_is_refused():
    voxels = np.full(GRID.shape, 0.5, np.float32)
    voxels[1, 2, 3] = np.nan
    with pytest.raises(DataError, match="expected voxels from 0 to 1"):
        Volume(voxels, GRID)


def test_another_shape_than_the_grids_is_refused():
    with pytest.raises(DataError) as caught:
        Volume(np.zeros((4, 3, 2), np.float32), GRID)
    assert "expected shape (2, 3, 4), found (4, 3, 2)" in str(caught.value)


def test_the_repr_tells_sizes_and_no_content():
    assert repr(volume()) == "Volume(2 x 3 x 4, 1 x 2 x 3 mm)"


def test_other_voxels_stand_on_the_same_grid_and_are_checked():
    old = volume()
    new = old.with_voxels(np.ones(GRID.shape, np.float32))
    assert (new.grid, new.voxels.min(), old.voxels.max()) == (GRID, 1.0, 0.5)
    with pytest.raises(DataError, match="expected voxels from 0 to 1, found 2 to 2"):
        old.with_voxels(np.full(GRID.shape, 2, np.float32))


def test_volumes_and_subjects_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        volume().grid = GRID
    with pytest.raises(dataclasses.FrozenInstanceError):
        Subject("sub-01", volume()).age_years = 3.0


def test_subjects_are_stacked_in_order():
    subjects = [Subject(f"sub-{number}", volume(number / 4)) for number in range(3)]
    assert stacked(subjects).shape == (3, 2, 3, 4)
    assert stacked(subjects)[:, 0, 0, 0].tolist() == [0, 0.25, 0.5]


@pytest.mark.parametrize(
    "other", [Grid((2, 3, 5), GRID.spacing_mm), Grid(GRID.shape, (1.0, 2.0, 4.0))]
)
def test_subjects_of_unlike_grids_are_not_stacked(other):
    subjects = [Subject("a", volume()), Subject("b", volume(grid=other))]
    with pytest.raises(DataError) as caught:
        stacked(subjects)
    expected = "expected subjects of one shape and spacing, found 1 of 2 on another grid"
    assert expected in str(caught.value)


def test_spacings_that_went_through_a_file_are_like_those_before():
    near = Grid(GRID.shape, tuple(float(np.float32(value + 0.2)) for value in GRID.spacing_mm))
    assert near.is_like(Grid(GRID.shape, tuple(value + 0.2 for value in GRID.spacing_mm)))


def test_another_origin_does_not_keep_subjects_apart():
    moved = dataclasses.replace(GRID, origin_mm=(0.0, 0.0, 0.0))
    assert stacked([Subject("a", volume()), Subject("b", volume(grid=moved))]).shape[0] == 2


def test_no_subject_cannot_be_stacked():
    with pytest.raises(DataError, match="found 0 of 0 on another grid"):
        stacked([])


def test_intensities_are_scaled_by_the_brains_own_percentile():
    voxels = np.zeros((20, 20, 20), np.float32)
    voxels[5:15, 5:15, 5:15] = np.linspace(1, 1000, 1000).reshape(10, 10, 10)
    scaled = normalised(voxels)
    top = np.percentile(np.linspace(1, 1000, 1000), 99.5)
    np.testing.assert_allclose(scaled, np.minimum(voxels / top, 1), rtol=1e-6)
    assert scaled.dtype == np.float32
    assert (scaled == 1).sum() == 5
    assert ((scaled > 0) == (voxels > 0)).all()


def test_voxels_below_zero_become_zero():
    assert normalised(np.array([[[-3.0, 0.0, 2.0, 2.0]]], np.float32)).tolist() == [[[0, 0, 1, 1]]]


def test_nothing_above_zero_cannot_be_scaled():
    with pytest.raises(DataError, match="expected voxels above 0, found none"):
        normalised(np.zeros(GRID.shape, np.float32))
