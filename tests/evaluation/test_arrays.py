import numpy as np
import pytest

from envoi.errors import DataError, ShapeError
from envoi.evaluation.arrays import block_means, check_same_shape, check_volumes, coarse_block


def test_block_means_average_cubes_and_leave_the_rest_out():
    volumes = np.random.default_rng(0).random((2, 5, 4, 6), dtype=np.float32)
    means = block_means(volumes, 2)
    assert means.shape == (2, 2, 2, 3)
    assert means.dtype == np.float32
    assert means[1, 1, 0, 2] == pytest.approx(volumes[1, 2:4, 0:2, 4:6].mean())
    np.testing.assert_array_equal(block_means(volumes, 1), volumes)


def test_bad_sets_are_refused():
    good = np.full((3, 16, 16, 16), 0.5, np.float32)
    check_volumes(good, "set", least=3)
    check_same_shape(good, good[:1], "set")
    with pytest.raises(ShapeError, match=r"set: expected at least 4 volumes of 16 .* \(3, 16,"):
        check_volumes(good, "set", least=4)
    with pytest.raises(ShapeError, match=r"of 16 voxels a side, found shape \(3, 15,"):
        check_volumes(good[:, 1:], "set", least=2)
    for wrong in (np.float32(1.5), np.float32(-0.1), np.float32(np.nan)):
        bad = good.copy()
        bad[1, 2, 3, 4] = wrong
        with pytest.raises(DataError, match="set: expected voxels from 0 to 1"):
            check_volumes(bad, "set", least=2)
    good[1] = 0
    with pytest.raises(DataError, match="1 of 3 volumes that are 0 everywhere, the first at 1"):
        check_volumes(good, "set", least=2)
    with pytest.raises(ShapeError, match=r"volumes of \(16, 16, 15\) voxels, as the real ones"):
        check_same_shape(good, good[..., :15], "set")


def test_coarse_blocks_leave_no_side_longer_than_64():
    shapes = ((16, 64, 20), (16, 20, 65), (128, 1, 1), (129, 1, 1))
    assert [coarse_block(shape) for shape in shapes] == [1, 2, 2, 3]
