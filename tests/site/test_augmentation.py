import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.errors import SettingsError
from envoi.settings import TrainingSettings
from envoi.site.augmentation import varied, warped
from envoi.transforms import augment, denormalise, normalise
from envoi.types import ImageSpec

SPEC = ImageSpec(3, 16, mean=(0.5, 0.4, 0.3), deviation=(0.2, 0.3, 0.5))
STILL = TrainingSettings(augment=True, flip=False, crop_area=0.999999)
"""Nothing moves by more than a thousandth of a pixel."""


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(batch=4, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (batch, 3, 4, 4), np.uint8)
    return normalise(pixels.repeat(4, 2).repeat(4, 3), SPEC)


def ramp(batch, across):
    """Images whose value is the place along one edge, from -1 to 1."""
    places = (torch.arange(64) + 0.5) / 32 - 1
    image = places.expand(64, 64) if across else places[:, None].expand(64, 64)
    return image.expand(batch, 1, 64, 64).contiguous()


def test_nothing_changes_where_nothing_is_asked_for():
    images = pictures()
    assert varied(images, generator(), TrainingSettings(brightness=0.5), SPEC) is images


def test_shifts_and_flips_are_what_they_were_before_there_was_more():
    images = pictures()
    for flip in (True, False):
        asked = TrainingSettings(augment=True, flip=flip)
        wanted = augment(images, generator(4), flip=flip)
        assert varied(images, generator(4), asked, SPEC).equal(wanted)


@pytest.mark.parametrize(
    "change",
    [
        {"crop_area": 0.08},
        {"brightness": 0.15},
        {"contrast": 0.1},
        {"rotation_degrees": 50.0},
        {"shear": 0.1},
    ],
)
def test_each_setting_changes_each_image_in_its_own_way_from_its_generator_alone(change):
    alike = pictures(1).expand(8, -1, -1, -1).contiguous()
    asked = replace(STILL, **change)
    changed = varied(alike, generator(1), asked, SPEC)
    assert changed.equal(varied(alike, generator(1), asked, SPEC))
    assert not changed.equal(varied(alike, generator(2), asked, SPEC))
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 8
    assert alike.equal(pictures(1).expand(8, -1, -1, -1))
    assert not varied(alike, generator(1), STILL, SPEC).allclose(changed, atol=0.05)
    low, high = normalise(np.full((1, 3, 16, 16), 0, np.uint8), SPEC), None
    high = normalise(np.full((1, 3, 16, 16), 255, np.uint8), SPEC)
    assert (changed >= low - 1e-5).all()
    assert (changed <= high + 1e-5).all()


def test_the_identity_map_keeps_every_pixel_and_a_quarter_turn_turns():
    image = torch.arange(2 * 25, dtype=torch.float32).reshape(1, 2, 5, 5)
    same = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    torch.testing.assert_close(warped(image, same), image)
    turn = torch.tensor([[[0.0, -1, 0], [1, 0, 0]]])
    torch.testing.assert_close(warped(image, turn), image.rot90(1, (2, 3)))
    mirrored = torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]])
    torch.testing.assert_close(warped(image, mirrored), image.flip(3))


def test_crops_keep_between_the_least_share_and_all_of_the_area_and_stay_inside():
    across = varied(ramp(400, True), generator(), replace(STILL, crop_area=0.25), ONE)
    down = varied(ramp(400, False), generator(), replace(STILL, crop_area=0.25), ONE)
    # Images of places tell where the pixels came from: the same draws for both.
    inner = slice(1, -1)
    width = (across[..., 32, 62] - across[..., 32, 1]).flatten() / (2 * 61 / 64)
    height = (down[..., 62, 32] - down[..., 1, 32]).flatten() / (2 * 61 / 64)
    area, ratio = width * height, width / height
    assert across.abs().max() <= 1
    assert 0.24 < area.min() < 0.3
    assert 0.8 < area.max() <= 1.01
    assert 0.74 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.35
    assert across[..., inner, :].diff(dim=3).min() > -1e-5  # never mirrored or turned
    left = across[..., 32, 0].flatten()
    assert left.min() < -0.9
    assert left.max() > -0.2


def test_turns_reach_the_angle_asked_for_and_no_further():
    asked = replace(STILL, rotation_degrees=30.0, crop_area=1.0)
    across = varied(ramp(300, True), generator(), asked, ONE)
    slope_x = across[:, 0, 32, 40] - across[:, 0, 32, 24]
    slope_y = across[:, 0, 40, 32] - across[:, 0, 24, 32]
    angles = torch.rad2deg(torch.atan2(slope_y, slope_x))
    assert angles.abs().max() <= 30.1
    assert angles.min() < -27
    assert angles.max() > 27


def test_shears_push_rows_aside_by_up_to_the_slope():
    asked = replace(STILL, shear=0.2, crop_area=1.0)
    across = varied(ramp(300, True), generator(), asked, ONE)
    slopes = (across[:, 0, 48, 32] - across[:, 0, 16, 32]) / 1
    assert 0.17 < slopes.max() <= 0.2001
    assert -0.2001 <= slopes.min() < -0.17
    down = varied(ramp(300, False), generator(), asked, ONE)
    assert (down[:, 0, 32, 40] - down[:, 0, 32, 24]).abs().max() < 1e-5


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 0.9), st.floats(0, 0.9), st.integers(0, 99))
def test_light_is_a_matter_of_pixels(brightness, contrast, seed):
    asked = replace(STILL, crop_area=1.0, brightness=brightness, contrast=contrast)
    flat = normalise(np.full((6, 3, 16, 16), 100, np.uint8), SPEC)
    pixels = denormalise(varied(flat, generator(seed), asked, SPEC), SPEC).double()
    assert pixels.std(dim=(1, 2, 3)).max() < 1  # contrast changes nothing where there is none
    bounds = sorted((math.floor(100 * (1 - brightness)), math.ceil(100 * (1 + brightness))))
    assert bounds[0] - 1 <= pixels.min() <= pixels.max() <= min(bounds[1] + 1, 255)


def test_contrast_turns_about_the_mean_and_keeps_it():
    image = pictures(32)
    unit = denormalise(image, SPEC).double()
    middling = normalise((64 + unit / 2).byte().numpy(), SPEC)
    asked = replace(STILL, crop_area=1.0, contrast=0.3)
    changed = denormalise(varied(middling, generator(), asked, SPEC), SPEC).double()
    before = denormalise(varied(middling, generator(), replace(asked, contrast=0.0), SPEC), SPEC)
    torch.testing.assert_close(
        changed.mean((1, 2, 3)), before.double().mean((1, 2, 3)), atol=1.0, rtol=0
    )
    factors = changed.std((1, 2, 3)) / before.double().std((1, 2, 3))
    assert 0.69 < factors.min() < 0.8
    assert 1.2 < factors.max() < 1.31


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("crop_area", 0.0),
        ("crop_area", 1.1),
        ("brightness", 1.0),
        ("contrast", -0.1),
        ("rotation_degrees", 181.0),
        ("shear", math.nan),
    ],
)
def test_changes_that_no_image_can_undergo_are_refused(key, value):
    with pytest.raises(SettingsError, match=key):
        TrainingSettings(**{key: value})


ONE = ImageSpec(1, 64, mean=(0.5,), deviation=(0.5,))
