"""Black borders, cut away by the rule and no further."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from envoi.data.sets.borders import without_borders
from envoi.errors import DataError


def cropped(pixels):
    return np.asarray(without_borders(Image.fromarray(pixels), "file 1"))


@settings(deadline=None, max_examples=60)
@given(st.tuples(*[st.integers(0, 9)] * 4), st.integers(11, 255), st.integers(0, 10))
def test_a_bright_box_is_found_wherever_it_lies(borders, bright, dark):
    top, bottom, left, right = borders
    box = np.full((6, 5, 3), (0, bright, 0), np.uint8)
    pixels = np.full((6 + top + bottom, 5 + left + right, 3), dark, np.uint8)
    pixels[top : top + 6, left : left + 5] = box
    assert np.array_equal(cropped(pixels), box)


def test_stray_bright_pixels_do_not_hold_a_border():
    pixels = np.zeros((201, 201), np.uint8)
    pixels[50:150, 50:150] = 90
    pixels[100, 0] = pixels[0, 100] = 255  # 1 of 201 is below 1 in 100
    assert cropped(pixels).shape == (100, 100)
    pixels[99:102, 0] = 255  # 3 of 201 is not
    assert cropped(pixels).shape == (100, 150)


def test_black_inside_is_kept():
    pixels = np.zeros((30, 30), np.uint8)
    pixels[[5, 20]] = 200
    assert cropped(pixels).shape == (16, 30)


def test_a_black_picture_is_refused():
    with pytest.raises(DataError, match="file 1: expected a picture with something bright"):
        cropped(np.full((9, 9, 3), 10, np.uint8))
