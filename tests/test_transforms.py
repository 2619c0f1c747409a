"""Pixels to inputs and back, and random changes that only move pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.errors import ShapeError
from envoi.transforms import augment, denormalise, jitter, normalise
from envoi.types import ImageSpec

quick = settings(deadline=None, max_examples=30)

SPEC = ImageSpec(3, 16, mean=(0.5, 0.4, 0.3), deviation=(0.2, 0.3, 0.5))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(batch=3, channels=2, size=5):
    """Images in which every pixel is unlike any other."""
    count = batch * channels * size * size
    return torch.arange(count, dtype=torch.float32).reshape(batch, channels, size, size)


def every_byte(channels=3):
    return np.tile(np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16), (2, channels, 1, 1))


def test_a_pixel_becomes_what_the_specification_says():
    pixels = np.full((1, 3, 16, 16), 51, np.uint8)
    wanted = (0.2 - torch.tensor(SPEC.mean)) / torch.tensor(SPEC.deviation)
    torch.testing.assert_close(normalise(pixels, SPEC)[0, :, 0, 0], wanted)


def test_the_papers_specification_gives_minus_one_to_one():
    inputs = normalise(every_byte(1), ImageSpec.of(1, 16))
    assert (inputs.min(), inputs.max()) == (-1, 1)
    assert inputs.dtype == torch.float32


def test_other_value_ranges_are_scaled_to_the_unit_range():
    spec = ImageSpec(1, 2, (50.0, 100.0), (0.0,), (1.0,))
    pixels = np.array([50, 75, 100, 0], np.uint8).reshape(1, 1, 2, 2)
    torch.testing.assert_close(normalise(pixels, spec).flatten(), torch.tensor([0.0, 0.5, 1, -1]))


@pytest.mark.parametrize("spec", [SPEC, ImageSpec.of(3, 16)])
def test_denormalise_is_the_inverse_of_normalise_for_every_byte(spec):
    pixels = every_byte()
    assert (denormalise(normalise(pixels, spec), spec).numpy() == pixels).all()


def test_denormalise_clips_and_forgets_gradients():
    inputs = torch.tensor([-9.0, 9.0, 0.0]).reshape(1, 3, 1, 1).requires_grad_()
    pixels = denormalise(inputs, ImageSpec.of(3, 1))
    assert pixels.flatten().tolist() == [0, 255, 128]
    assert pixels.dtype == torch.uint8


def test_tensors_reversed_and_read_only_views_give_the_same_inputs():
    pixels = every_byte()
    wanted = normalise(pixels, SPEC)
    assert normalise(torch.from_numpy(pixels), SPEC).equal(wanted)
    assert normalise(pixels[..., ::-1], SPEC).equal(wanted.flip(3))
    pixels.setflags(write=False)
    assert normalise(pixels, SPEC).equal(wanted)


def test_inputs_have_the_memory_order_that_cpus_like_and_pixels_are_not_changed():
    pixels = every_byte()
    inputs = normalise(pixels, SPEC)
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    inputs.zero_()
    assert (pixels == every_byte()).all()


@quick
@given(st.integers(0, 6), st.integers(0, 20))
def test_jitter_is_one_circular_shift_of_the_whole_batch(limit_px, seed):
    images = numbered()
    moved = jitter(images, limit_px, generator(seed))
    shifts = [
        torch.roll(images, (down, right), dims=(2, 3))
        for down in range(-limit_px, limit_px + 1)
        for right in range(-limit_px, limit_px + 1)
    ]
    assert any(moved.equal(shifted) for shifted in shifts)


def test_jitter_reaches_every_shift_up_to_its_limit_and_no_further():
    images, source = numbered(1, 1, 7), generator()
    corners = {int(jitter(images, 2, source)[0, 0, 0, 0]) for _ in range(400)}
    shifts = [0, 1, 2, 5, 6]  # of seven, circularly: 0, 1, 2, -2, -1
    assert corners == {7 * row + column for row in shifts for column in shifts}


def test_jitter_is_differentiable():
    images = numbered().requires_grad_()
    (gradient,) = torch.autograd.grad(jitter(images, 2, generator()).sum(), images)
    assert gradient.equal(torch.ones_like(images))


def flips_and_shifts(image, shift_px):
    """All that `augment` may make of one image, built by hand with NumPy."""
    size = image.shape[-1]
    for flipped in (image.numpy(), image.numpy()[:, :, ::-1]):
        padded = np.pad(flipped, ((0, 0), (shift_px,) * 2, (shift_px,) * 2), mode="reflect")
        for top in range(2 * shift_px + 1):
            for left in range(2 * shift_px + 1):
                yield padded[:, top : top + size, left : left + size]


@quick
@given(st.integers(0, 3), st.integers(0, 50))
def test_augment_flips_and_shifts_each_image_and_does_no_more(shift_px, seed):
    images = numbered()
    for image, changed in zip(
        images, augment(images, generator(seed), shift_px=shift_px), strict=True
    ):
        assert any((changed.numpy() == one).all() for one in flips_and_shifts(image, shift_px))


def test_augment_draws_from_its_generator_alone():
    images = numbered(8)
    first, second = augment(images, generator(1)), augment(images, generator(1))
    assert first.equal(second)
    assert not first.equal(augment(images, generator(2)))
    assert images.equal(numbered(8))


def test_augment_changes_each_image_in_its_own_way():
    alike = numbered(1).expand(64, -1, -1, -1)
    changed = augment(alike, generator())
    assert len({tuple(image.flatten().tolist()) for image in changed}) > 20


def test_half_of_the_images_are_flipped():
    alike = numbered(1).expand(400, -1, -1, -1)
    changed = augment(alike, generator(), shift_px=0)
    flipped = sum(image.equal(alike[0].flip(2)) for image in changed)
    kept = sum(image.equal(alike[0]) for image in changed)
    assert flipped + kept == 400
    assert 160 < flipped < 240


def test_without_flips_each_image_is_shifted_alone():
    images = numbered(64)
    for image, changed in zip(images, augment(images, generator(3), flip=False), strict=True):
        kept = list(flips_and_shifts(image, 2))[:25]
        assert any((changed.numpy() == one).all() for one in kept)


def test_flips_are_drawn_before_shifts_so_that_old_runs_can_be_repeated():
    images, source = numbered(16), generator(5)
    mirrored = (torch.rand(16, generator=source) < 0.5).tolist()
    offsets = torch.randint(0, 5, (16, 2), generator=source).tolist()
    places = [
        25 * flip + 5 * top + left for flip, (top, left) in zip(mirrored, offsets, strict=True)
    ]
    for image, changed, place in zip(images, augment(images, generator(5)), places, strict=True):
        assert (changed.numpy() == list(flips_and_shifts(image, 2))[place]).all()


@pytest.mark.parametrize("shape", [(2, 1, 16, 16), (2, 3, 8, 16), (2, 3, 8, 8)])
def test_pixels_of_another_shape_are_refused_and_not_broadcast(shape):
    wanted = "images: expected images of 3 channels, 16 x 16 pixels, found shape"
    with pytest.raises(ShapeError, match=wanted):
        normalise(np.zeros(shape, np.uint8), SPEC)


def test_a_specification_needs_a_mean_and_a_deviation_for_each_channel():
    with pytest.raises(ShapeError, match=r"1 means and deviations, .* found 3 and 3"):
        normalise(np.zeros((2, 1, 16, 16), np.uint8), ImageSpec(1, 16))
