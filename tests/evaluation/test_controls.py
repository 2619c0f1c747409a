import numpy as np
import pytest

from envoi.evaluation import controls
from tests.evaluation.phantoms import heads

MADE = {
    "blurred": controls.blurred,
    "noisy": controls.noisy,
    "shuffled": controls.shuffled,
    "seamed": controls.seamed((8, 16, 24)),
    "seamed_anywhere": controls.seamed_anywhere,
    "shrunk": controls.shrunk,
    "collapsed": controls.collapsed,
    "copied": controls.copied,
}


@pytest.fixture(scope="module")
def volumes():
    return heads(3)


@pytest.fixture(params=MADE)
def made(request, volumes):
    return MADE[request.param](volumes, np.random.default_rng(0))


def test_controls_are_volumes_like_others(made, volumes):
    assert made.shape == volumes.shape
    assert made.dtype == np.float32
    assert made.min() == 0
    assert made.max() <= 1
    assert not np.array_equal(made, volumes)


@pytest.mark.parametrize("name", ["blurred", "noisy"])
def test_brains_keep_their_outline(name, volumes):
    made = MADE[name](volumes, np.random.default_rng(0))
    np.testing.assert_array_equal(made > 0, volumes > 0)


def test_real_volumes_stay_as_they_are(volumes):
    before = volumes.copy()
    for control in MADE.values():
        control(volumes, np.random.default_rng(0))
    np.testing.assert_array_equal(volumes, before)


def test_shuffled_slices_are_the_same_slices(volumes):
    made = controls.shuffled(volumes, np.random.default_rng(0))
    for start in range(0, 36, 4):
        ours, theirs = (
            np.sort(v[:, start : start + 4].sum((2, 3)), axis=1) for v in (made, volumes)
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_windows_differ_in_brightness_and_place(volumes):
    made = controls.seamed((16,))(volumes, np.random.default_rng(0))
    np.testing.assert_allclose(made[:, :16], volumes[:, :16] * 0.92, rtol=1e-5)
    above = np.roll(volumes[:, 16:], 1, axis=-1) * 1.08
    np.testing.assert_allclose(made[:, 16:], above.clip(0, 1), rtol=1e-5)


def test_slabs_begin_at_another_slice_of_another_plane_in_each_volume():
    flat = np.full((30, 40, 36, 44), 0.5, np.float32)
    made = controls.seamed_anywhere(flat, np.random.default_rng(0)) / flat
    np.testing.assert_allclose(np.unique(made.round(4)), [0.92, 1.08])
    places = set()
    for one in made:
        lines = [np.moveaxis(one, axis, 0).reshape(one.shape[axis], -1) for axis in range(3)]
        (axis,) = (axis for axis, line in enumerate(lines) if np.ptp(line[:, 0]) > 0)
        assert (np.ptp(lines[axis], axis=1) < 1e-6).all()
        borders = 1 + np.flatnonzero(np.abs(np.diff(lines[axis][:, 0])) > 0.1)
        assert set(np.diff(borders)) == {12}
        places.add((axis, int(borders[0]) % 12))
    assert {axis for axis, _ in places} == {0, 1, 2}
    assert len({first for _, first in places}) > 6


def test_shrunk_brains_have_nine_tenths_of_each_side(volumes):
    made = controls.shrunk(volumes, np.random.default_rng(0))
    assert (made > 0).sum() / (volumes > 0).sum() == pytest.approx(0.9**3, rel=0.05)


def test_copies_are_mirrored_and_moved(volumes):
    made = controls.copied(volumes, np.random.default_rng(0))
    back = np.roll(made, (-1, 1, -1), axis=(1, 2, 3))[..., ::-1]
    np.testing.assert_array_equal(back > 0, volumes > 0)
    assert np.abs(back - volumes).mean() < 0.02
