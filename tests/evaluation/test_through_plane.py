import itertools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.stats import ks_2samp

from envoi.errors import SettingsError, ShapeError
from envoi.evaluation.seams import real_steps, step_readings
from envoi.evaluation.through_plane import (
    BAND_EDGES,
    jump_distance,
    mean_jumps,
    seam_index,
    spectrum_ratios,
    through_plane,
)


def smooth(seed, volumes=4, sigma=(1.5, 1.5, 1.5), shape=(32, 28, 24)):
    """Smooth noise from 0.1 to 0.9 within a box, 0 outside."""
    field = np.random.default_rng(seed).normal(size=(volumes, *shape))
    for axis, width in enumerate(sigma, start=1):
        field = gaussian_filter1d(field, width, axis=axis) if width else field
    field = 0.1 + 0.8 * (field - field.min()) / (field.max() - field.min())
    field[:, :2] = field[:, :, :2] = field[..., -3:] = 0
    return field.astype(np.float32)


def against(volumes, reference, *, borders):
    return through_plane(
        volumes, reference, borders=borders, steps=real_steps(step_readings(reference))
    )


def jumps_of(volumes, axis):
    turned = np.moveaxis(volumes, axis, 1)
    pairs = [(turned[:, i], turned[:, i + 1]) for i in range(turned.shape[1] - 1)]
    return np.concatenate([np.abs(a - b)[(a > 0) & (b > 0)] for a, b in pairs])


@pytest.mark.parametrize(("axis", "number"), [("depth", 1), ("height", 2), ("width", 3)])
def test_the_distance_of_jumps_agrees_with_scipy(axis, number):
    one, two = smooth(0), smooth(1, sigma=(1, 1.5, 2))
    expected = ks_2samp(jumps_of(one, number), jumps_of(two, number)).statistic
    assert jump_distance(one, two, axis) == pytest.approx(expected, abs=2e-3)
    assert jump_distance(one, one, axis) == 0


def test_more_volumes_than_fit_at_once_are_counted_too():
    volumes = smooth(0, volumes=9, shape=(16, 16, 16))
    halves = np.concatenate([volumes, smooth(1, volumes=9, sigma=(0, 0, 0), shape=(16, 16, 16))])
    assert jump_distance(halves, volumes, "depth") > 0.2


def test_rough_depth_is_seen_along_the_depth_alone():
    volumes, rough = smooth(0), smooth(0, sigma=(0.7, 1.5, 1.5))
    by_axis = against(rough, volumes, borders=(8,)).jumps
    assert by_axis["depth"] > 3 * max(by_axis["height"], by_axis["width"])


def test_a_seam_is_measured_where_it_is():
    volumes = smooth(0, volumes=16)
    assert seam_index(volumes, (8, 16, 24)) == pytest.approx(1, abs=0.1)
    seamed = volumes.copy()
    seamed[:, 16:] *= 0.8
    assert seam_index(seamed, (16,)) > 2
    assert seam_index(seamed, (8, 24)) == pytest.approx(1, abs=0.15)


def test_the_seam_index_is_the_ratio_of_mean_jumps():
    steps = np.array([1, 1, 1, 1, 1, 1, 3, 1, 1, 1, 2, 2, 2, 9, 9], np.float32)
    line = np.concatenate([[0.1], 0.1 + np.cumsum(steps) / 100]).astype(np.float32)
    volumes = np.tile(line[None, :, None, None], (2, 1, 4, 4))
    assert seam_index(volumes, (7,)) == pytest.approx(3)  # 1..3 away, not the nines
    assert seam_index(volumes, (7, 9)) == pytest.approx(((3 + 1) / 2) / (9 / 7), rel=1e-4)


def test_volumes_of_one_value_have_no_seam():
    flat = np.full((2, 16, 16, 16), 0.5, np.float32)
    assert seam_index(flat, (8,)) == 1
    flat[:, 8:] = 0.25
    assert seam_index(flat, (8,)) == 1000  # a number, for files


def test_where_there_is_no_brain_there_is_no_seam():
    volumes = smooth(0, volumes=16)
    volumes[:, 20:] = 0
    assert seam_index(volumes, (24,)) == 1
    assert seam_index(volumes, (8, 24)) == seam_index(volumes, (8,))


def test_the_spectrum_of_noise_is_even_and_of_smoothed_noise_is_not():
    noise = np.random.default_rng(0).random((6, 32, 32, 32), dtype=np.float32)
    np.testing.assert_allclose(spectrum_ratios(noise), 1, atol=0.05)
    ratios = spectrum_ratios(gaussian_filter1d(noise, 1, axis=1))
    assert list(ratios) == sorted(ratios, reverse=True)
    # A Gaussian of one voxel keeps exp(-(2 pi f)^2) of the energy at f; the lines across are
    # smoothed by their neighbours, alike at all frequencies.
    scale = ratios[0] / np.exp(-((2 * np.pi * 3 / 32) ** 2))
    assert ratios[1] == pytest.approx(scale * np.exp(-((2 * np.pi * 0.18) ** 2)), rel=0.15)


def test_a_wave_lands_in_its_band():
    wave = 0.5 + 0.3 * np.cos(2 * np.pi * 5 / 16 * np.arange(48))
    noise = np.random.default_rng(0).uniform(0, 0.1, (2, 48, 48, 48))
    volumes = (noise + wave[None, :, None, None]).astype(np.float32)
    ratios = spectrum_ratios(volumes.clip(0, 1))
    assert np.argmax(ratios) == 2
    bands = against(volumes.clip(0, 1), volumes.clip(0, 1), borders=(9,)).spectrum
    assert [(band.low, band.high) for band in bands] == list(itertools.pairwise(BAND_EDGES))
    assert [band.ratio for band in bands] == [band.reference_ratio for band in bands]


def test_bad_input_is_refused():
    volumes = smooth(0)
    with pytest.raises(SettingsError, match=r"slices from 1 to 31 .*, found \[0, 32\]"):
        seam_index(volumes, (0, 8, 32))
    with pytest.raises(SettingsError, match="at which a window begins, found none"):
        against(volumes, volumes, borders=())
    with pytest.raises(ShapeError, match="as the real ones"):
        against(volumes, volumes[:, 1:], borders=(8,))


def test_mean_jumps_are_those_of_each_step_within_the_brain():
    volumes = smooth(9)
    found = mean_jumps(volumes)
    wanted = [jumps_of(volumes[:, z : z + 2], 1) for z in range(volumes.shape[1] - 1)]
    assert found.shape == (volumes.shape[1] - 1,)
    assert found[:2].tolist() == [0, 0]
    np.testing.assert_allclose(found[2:], [jumps.mean() for jumps in wanted[2:]], rtol=1e-5)
