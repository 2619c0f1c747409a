"""Smooth noise: its scale, the length of its waves, and the way to where it is 0."""

import numpy as np
import pytest

from envoi.mri.phantoms.smooth_noise import SmoothNoise


def along(axis, count=2000, step_mm=0.5):
    points = np.full((3, count), 17.0, np.float32)
    points[axis] = np.arange(count) * step_mm
    return points


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("wave_mm", [20, 60])
def test_waves_are_as_long_as_asked_for(axis, wave_mm):
    crossings = []
    for seed in range(6):
        noise = SmoothNoise.draw(wave_mm, np.random.default_rng(seed))
        values = noise.at(along(axis, step_mm=wave_mm / 50))
        crossings.append(np.count_nonzero(np.diff(np.sign(values))))
    # Along any line, waves of a thin shell cross zero 2 / sqrt(3) times a wave length.
    waves = 2000 / 50
    assert np.mean(crossings) == pytest.approx(2 / np.sqrt(3) * waves, rel=0.2)


def test_mean_and_deviation_are_0_and_1():
    noise = SmoothNoise.draw(20, np.random.default_rng(0))
    points = np.random.default_rng(1).uniform(0, 133, (3, 20000)).astype(np.float32)
    values = noise.at(points)
    assert abs(values.mean()) < 0.05
    assert values.std() == pytest.approx(1, abs=0.12)  # a little is lost between lattice points
    assert values.dtype == np.float32


def test_it_repeats_and_has_no_edge():
    noise = SmoothNoise.draw(12, np.random.default_rng(0))
    points = np.random.default_rng(1).uniform(-80, 0, (3, 100)).astype(np.float32)
    np.testing.assert_allclose(noise.at(points), noise.at(points + 80), atol=1e-3)


def test_equal_generators_draw_equal_noise():
    first, again, other = (
        SmoothNoise.draw(30, np.random.default_rng(seed)).lattice for seed in (5, 5, 6)
    )
    assert (first == again).all()
    assert not (first == other).all()


def test_the_way_to_zero_is_right_near_zero():
    noise = SmoothNoise.draw(30, np.random.default_rng(0))
    points = along(0, step_mm=0.05)
    values = noise.at(points)
    (crossings,) = np.nonzero(np.diff(np.sign(values)))
    assert len(crossings) > 4
    at = noise.distance_to_zero(points)
    assert (at[crossings] < 0.1).all()
    # A surface that is met at a slant is nearer than it is along the line.
    away = at[crossings[:-1] + 20]
    assert (away <= 1.2).all()
    assert (away > 0.1).all()
