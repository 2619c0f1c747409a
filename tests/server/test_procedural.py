"""Procedural images: seeded, of every size and family, in the colours of a palette."""

import dataclasses

import pytest
import torch

from envoi.networks import build
from envoi.networks.spectrum import Spectrum
from envoi.server.kept import Held
from envoi.server.synthesis.moment_images import ProceduralImages
from envoi.server.synthesis.palette import Palette, palette_of
from envoi.server.synthesis.procedural import (
    FAMILIES,
    blurred,
    filtered,
    procedural,
    textured,
)
from envoi.submission import Moments
from tests.conftest import make_teachers

SIZES = (8, 28, 61)
SKIN = Palette(
    torch.tensor([0.5, 0.0, -0.2]),
    torch.tensor([[0.2, 0.0, 0.0], [0.15, 0.05, 0.0], [0.1, 0.0, 0.1]]),
)
GREY = Palette(torch.tensor([-0.3]), torch.tensor([[0.2]]))
PALETTES = {1: GREY, 3: SKIN}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def plain(count, size, palette):
    return palette.mean[:, None, None].expand(count, -1, size, size)


@pytest.mark.parametrize("channels", PALETTES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 5, 13])
def test_images_have_the_shape_asked_for_and_are_those_of_their_seed(channels, size, count):
    palette = PALETTES[channels]
    images = procedural(count, size, palette, seeded())
    assert images.shape == (count, channels, size, size)
    assert images.isfinite().all()
    torch.rand(3)  # what others draw changes nothing
    assert images.equal(procedural(count, size, palette, seeded()))
    assert not images.equal(procedural(count, size, palette, seeded(1)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("channels", PALETTES)
@pytest.mark.parametrize("size", SIZES)
def test_every_family_draws_something_in_every_image(family, channels, size):
    palette, ground = PALETTES[channels], plain(6, size, PALETTES[channels])
    before = ground.clone()
    images = FAMILIES[family](ground, palette, seeded())
    assert images.shape == ground.shape
    assert images.isfinite().all()
    assert ground.equal(before)
    spread = images.flatten(2).std(dim=2).amax(dim=1)
    assert (spread > 0.005).all()
    assert images.abs().max() < 10
    for other in range(1, 6):  # each its own
        assert (images[0] - images[other]).abs().max() > 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_a_palette_without_spread_draws_nothing_but_its_mean(family):
    even = Palette(SKIN.mean, torch.zeros(3, 3))
    images = FAMILIES[family](plain(4, 8, even), even, seeded())
    torch.testing.assert_close(images, plain(4, 8, even), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_palette_of_one_hue_draws_that_hue_alone(family):
    """Every pixel lies on the line of the palette's colours."""
    hue = torch.tensor([0.3, 0.2, 0.1])
    palette = Palette(SKIN.mean, torch.stack([hue, 0 * hue, 0 * hue], dim=1))
    images = FAMILIES[family](plain(4, 8, palette), palette, seeded())
    offsets = (images - plain(4, 8, palette)).permute(0, 2, 3, 1)
    along = offsets @ hue / hue.square().sum()
    torch.testing.assert_close(along[..., None] * hue, offsets, atol=1e-5, rtol=1e-4)
    assert along.abs().max() > 0.1


def test_mean_colours_are_the_palettes():
    count = 600
    images = procedural(count, 8, SKIN, seeded())
    means = images.mean(dim=(2, 3))
    error = means.std(dim=0) / count**0.5
    assert ((means.mean(dim=0) - SKIN.mean).abs() < 4 * error).all()
    # And they vary along the palette's directions: red most, as it is spread most.
    spread, wanted = means.std(dim=0), SKIN.spread.norm(dim=1)
    assert spread.argmax() == wanted.argmax()
    assert (spread > 0.3 * wanted).all()
    assert (spread < 2 * wanted).all()


def test_palettes_draw_what_they_tell():
    drawn = SKIN.draw((20_000,), seeded())
    torch.testing.assert_close(drawn.T.cov(), SKIN.spread @ SKIN.spread.T, atol=2e-3, rtol=0.05)
    assert SKIN.strength == pytest.approx((SKIN.spread.square().sum() / 3).sqrt().item())
    assert SKIN.draw((2, 3), seeded()).shape == (2, 3, 3)


@pytest.mark.parametrize("size", SIZES)
def test_filtered_noise_falls_with_frequency_as_asked(size):
    noise = torch.randn(40, 1, size, size, generator=seeded())
    flat = filtered(noise, torch.zeros(40, 1, 1))
    steep = filtered(noise, torch.full((40, 1, 1), 2.0))
    for field in (flat, steep):
        torch.testing.assert_close(field.flatten(1).std(dim=1), torch.ones(40))
    power = torch.fft.rfft2(steep).abs().square().mean(dim=(0, 1))[0]
    # Along the first axis: 4 times less amplitude, and so 16 times less power, an octave up.
    assert (power[1] / power[2]).item() == pytest.approx(16, rel=0.9)
    assert (power[1] / power[4]).item() == pytest.approx(256, rel=0.9)
    white = torch.fft.rfft2(flat).abs().square().mean(dim=(0, 1))[0]
    assert (white[1] / white[4]).item() == pytest.approx(1, rel=0.6)


def test_blur_leaves_even_images_alone_and_smooths_others():
    even = plain(9, 8, SKIN).contiguous()
    torch.testing.assert_close(blurred(even, seeded()), even)
    noise = torch.randn(60, 3, 16, 16, generator=seeded())
    left = (blurred(noise, seeded()).flatten(1).std(dim=1) / noise.flatten(1).std(dim=1)).tolist()
    kinds = {round(value * 4) for value in left}
    assert len(kinds) >= 2
    assert max(left) == pytest.approx(1)
    assert min(left) < 0.45


def test_grain_does_not_move_the_mean():
    images = plain(200, 16, SKIN)
    found = textured(images, SKIN, seeded()) - images
    assert found.mean().abs() < 0.02
    assert found.std() > 0.02


def moments_with(colour, spread, *, size=8):
    """Moments of images of one plain colour (of some spread) each, for one class."""
    spectrum = Spectrum(3, size)
    generator = seeded()
    colours = colour + spread * torch.randn(4000, 3, generator=generator)
    images = colours[:, :, None, None].expand(-1, -1, size, size)
    features = spectrum.features(images)
    deviations = features.std(dim=0)
    scale = torch.where(deviations > 0, deviations, 1.0)
    centred = (features - features.mean(dim=0)) / scale
    correlations = (centred.T @ centred / len(centred)).fill_diagonal_(1)
    means = torch.zeros(3, features.shape[1])
    means[0] = features.mean(dim=0)
    return Moments(means, deviations, correlations)


def test_the_palette_is_that_of_the_moments():
    colour, spread = torch.tensor([0.4, -0.1, 0.2]), torch.tensor([0.3, 0.1, 0.05])
    moments = moments_with(colour, spread)
    teachers = make_teachers(((50, 0, 0),), moments=False)
    member = dataclasses.replace(teachers.members[0], moments=moments)
    found = palette_of(dataclasses.replace(teachers, members=(member,)))
    torch.testing.assert_close(found.mean, colour, atol=0.02, rtol=0)
    covariance = found.spread @ found.spread.T
    torch.testing.assert_close(covariance, torch.diag(spread.square()), atol=5e-3, rtol=0)


@pytest.mark.parametrize("architecture", ["resnet10-small", "wrn-16-2"])
def test_without_moments_the_mean_colour_is_read_from_the_first_batch_norm(architecture):
    colour = torch.tensor([0.6, -0.4, 0.1])
    teachers = make_teachers(((50, 10, 5),), architecture=architecture, moments=False, size_px=28)
    network = build(architecture, channels=3, classes=3, seed=0).train()
    for _ in range(60):
        noise = 0.1 * torch.randn(4, 3, 28, 28, generator=seeded())
        network(colour[:, None, None] + noise)
    member = dataclasses.replace(teachers.members[0], kept=Held(network))
    found = palette_of(dataclasses.replace(teachers, members=(member,)))
    torch.testing.assert_close(found.mean, colour, atol=0.1, rtol=0)


def test_networks_without_batch_norm_have_a_palette_in_the_middle():
    teachers = make_teachers(architecture="resnet10-small-gn", moments=False)
    found = palette_of(teachers)
    assert not found.mean.any()
    assert found.strength > 0.1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("moments", [True, False])
def test_the_source_stays_inside_the_range_of_pixels(channels, moments):
    teachers = make_teachers(channels=channels, size_px=28, moments=moments)
    source = ProceduralImages(teachers)
    drawn = source.draw(13, seeded())
    assert drawn.images.shape == (13, channels, 28, 28)
    assert drawn.images.abs().max() <= 1
    assert drawn.sites.eq(-1).all()
    assert drawn.classes.eq(-1).all()
    assert drawn.images.equal(source.draw(13, seeded()).images)


def test_the_palette_of_moments_is_the_covariance_of_pixels():
    spectrum = Spectrum(3, 28)
    red = torch.randn(4000, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.interpolate(red, 28, mode="bicubic")
    images = torch.cat([wide, torch.zeros(4000, 2, 28, 28)], dim=1)
    found = spectrum.colour_covariance(torch.cov(spectrum.features(images).double().T))
    centred = images - images.mean(dim=0)
    wanted = torch.einsum("bchw,bdhw->cd", centred, centred) / centred[:, 0].numel()
    # The coarse picture holds most of the variance, all of it in red.
    assert 0.8 * wanted[0, 0] < found[0, 0] <= 1.01 * wanted[0, 0]
    assert found.flatten()[1:].abs().max() < 1e-3
