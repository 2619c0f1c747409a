import numpy as np
import pytest

from envoi.evaluation.slices import plane_slices, squared, turned_to


@pytest.fixture
def volumes():
    """Two boxes of numbered voxels, of 16 x 20 x 18, in different places."""
    made = np.zeros((2, 16, 20, 18), np.float32)
    numbers = np.linspace(0.1, 1, 10 * 8 * 6, dtype=np.float32).reshape(10, 8, 6)
    made[0, 2:12, 5:13, 4:10] = made[1, 4:14, 3:11, 6:12] = numbers
    return made


@pytest.mark.parametrize(("plane", "axis"), [("axial", 0), ("coronal", 1), ("sagittal", 2)])
def test_slices_are_those_of_the_plane(volumes, plane, axis):
    slices = plane_slices(volumes, plane)
    inner = np.take(volumes[0], 6, axis=axis)
    if axis == 0:
        expected = squared(inner[None], 20)[0]
        found = slices.pixels[(slices.volumes == 0) & np.isclose(slices.positions, 6 / 15)]
        np.testing.assert_array_equal(found[0], expected)
    first = slices.volumes == 0
    assert len(slices.pixels) == 2 * first.sum() == 2 * (10, 8, 6)[axis]
    assert slices.pixels.shape[1:] == (20, 20)
    assert slices.pixels[first].sum() == pytest.approx(volumes[0].sum(), rel=1e-5)
    np.testing.assert_array_equal(turned_to(volumes, plane)[0, 6], inner)


def test_slices_with_little_brain_are_left_out(volumes):
    volumes[0, 1, 5:7, 5] = 0.5  # two voxels of 48
    assert (plane_slices(volumes, "axial").volumes == 0).sum() == 10
    volumes[0, 1, 5:8, 4:9] = 0.5  # fifteen
    assert (plane_slices(volumes, "axial").volumes == 0).sum() == 11


def test_positions_run_from_bottom_to_top():
    full = np.full((1, 16, 16, 16), 0.5, np.float32)
    positions = plane_slices(full, "coronal").positions
    np.testing.assert_allclose(positions, np.linspace(0, 1, 16), atol=1e-6)


def test_squares_have_the_slice_in_the_middle():
    square = squared(np.ones((1, 2, 4), np.float32), 6)[0]
    assert square.sum() == 8
    assert square[2:4, 1:5].all()
