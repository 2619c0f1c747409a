"""Shades of grey, against values worked by hand and by its properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from envoi.data.sets.colour_constancy import illuminant, shades_of_grey
from envoi.errors import SettingsError

quick = settings(deadline=None, max_examples=60)
IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)))


def test_one_colour_becomes_the_grey_of_its_length():
    # e = (200, 100, 50) / sqrt(52500), so each channel is divided by sqrt(3) e: all become
    # sqrt(52500 / 3) = 132.29.
    image = np.full((2, 3, 3), (200, 100, 50), np.uint8)
    assert illuminant(image) == pytest.approx(np.array([200, 100, 50]) / 52500**0.5)
    assert np.array_equal(shades_of_grey(image), np.full((2, 3, 3), 132))


def test_the_norm_is_the_sixth_powers():
    # Red: 0 and 128, whose sixth powers have the mean 128^6 / 2; its root is 128 / 2^(1/6) =
    # 114.04. Green and blue: 64 throughout. Length: sqrt(114.04^2 + 2 * 64^2) = 145.59. The gains
    # are 145.59 / (sqrt(3) * 114.04) = 0.7371 and 145.59 / (sqrt(3) * 64) = 1.3134, so 128
    # becomes 94.35, and 64 becomes 84.05.
    image = np.array([[[0, 64, 64], [128, 64, 64]]], np.uint8)
    assert illuminant(image) == pytest.approx([0.78327, 0.43960, 0.43960], abs=1e-5)
    assert shades_of_grey(image).tolist() == [[[0, 84, 84], [94, 84, 84]]]


def test_with_power_1_it_is_the_grey_world():
    # Means 64 and 32, 32: length sqrt(64^2 + 2 * 32^2) = 78.38; gains 0.7071 and 1.4142.
    image = np.array([[[0, 32, 32], [128, 32, 32]]], np.uint8)
    assert shades_of_grey(image, power=1).tolist() == [[[0, 45, 45], [91, 45, 45]]]


def test_values_end_at_white_and_do_not_wrap_around():
    image = np.array([[[250, 250, 40], [10, 10, 250], [10, 10, 40]]] * 9, np.uint8)
    image[1:, 1] = 10  # the one bright blue pixel is rare, so blue is raised
    corrected = shades_of_grey(image)
    assert illuminant(image)[2] * 3**0.5 < 250 / 255
    assert corrected[0, 1, 2] == 255


@quick
@given(arrays(np.uint8, (5, 4, 3), elements=st.integers(100, 150)))
def test_afterwards_the_light_is_white(image):
    # No gain is above 1.5 here, so nothing ends at 255.
    assert illuminant(shades_of_grey(image)) == pytest.approx(np.full(3, 3**-0.5), abs=0.003)


@quick
@given(IMAGES)
def test_grey_images_black_ones_and_empty_channels_stay(image):
    grey = np.repeat(image[..., :1], 3, axis=2)
    assert np.array_equal(shades_of_grey(grey), grey)
    assert np.linalg.norm(illuminant(image)) == pytest.approx(1)
    image[..., 1] = 0
    assert not shades_of_grey(image)[..., 1].any()


@pytest.mark.parametrize("power", [0, 0.5, -1, float("nan")])
def test_a_power_below_1_is_refused(power):
    with pytest.raises(SettingsError, match="a power of 1 or more"):
        shades_of_grey(np.ones((1, 1, 3), np.uint8), power)
