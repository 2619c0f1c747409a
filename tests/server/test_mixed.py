"""Images mixed with one another and made noisy."""

import pytest
import torch

from envoi.server.synthesis.mixed import Mixed, structured_noise
from envoi.server.synthesis.moment_images import Drawn
from envoi.transforms import clamped
from envoi.types import ImageSpec

IMAGE = ImageSpec.of(3, 16)
COUNT = 200


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


class Flat:
    """Image i is all of one value, i / count; it is of site i."""

    def draw(self, count, generator):
        places = torch.arange(count)
        images = (places / count)[:, None, None, None].expand(count, 3, 16, 16).contiguous()
        return Drawn(images, places, torch.zeros_like(places))


class Smooth:
    """Images that rise from left to right."""

    def draw(self, count, generator):
        images = torch.linspace(-0.5, 0.5, 16).expand(count, 3, 16, 16).contiguous()
        nobody = torch.full((count,), -1)
        return Drawn(images, nobody, nobody)


def drawn(generator, source=None, **shares):
    return Mixed(source or Flat(), IMAGE, **shares).draw(COUNT, generator)


def test_without_shares_images_stay(generator):
    found, plain = drawn(generator), Flat().draw(COUNT, generator)
    assert torch.equal(found.images, clamped(plain.images, IMAGE))
    assert torch.equal(found.sites, plain.sites)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_mixup_takes_from_one_other_image_at_most_half(generator, share):
    found = drawn(generator, mixup=share)
    own, seen = torch.arange(COUNT) / COUNT, found.images[:, 0, 0, 0]
    assert (found.images == seen[:, None, None, None]).all()
    moved = (seen - own).abs()
    assert moved.max() <= 0.5 * (1 - 1 / COUNT) + 1e-6
    assert (moved > 1e-6).float().mean() == pytest.approx(share, abs=0.1)
    assert moved.mean() == pytest.approx(share / 12, rel=0.3)
    assert torch.equal(found.sites, torch.arange(COUNT))


def test_noise_is_of_some_images_and_in_units_of_their_deviation(generator):
    plain = Smooth().draw(COUNT, generator).images
    added = drawn(generator, Smooth(), noise=0.5).images - plain
    strengths = added.std(dim=(2, 3)) / plain.std(dim=(2, 3))
    assert (strengths > 0).any(dim=1).float().mean() == pytest.approx(0.5, abs=0.1)
    assert strengths.max() <= 1 + 1e-4


def test_structured_noise_is_of_deviation_one_and_coarse_or_fine(generator):
    noise = structured_noise(torch.Size((COUNT, 3, 16, 16)), generator)
    torch.testing.assert_close(noise.std(dim=(2, 3)), torch.ones(COUNT, 3))
    steps = (noise[..., 1:] - noise[..., :-1]).square().mean(dim=(1, 2, 3))
    assert steps.max() > 10 * steps.min()
    centred = noise - noise.mean(dim=(2, 3), keepdim=True)
    common = (centred[:, 0] * centred[:, 1]).mean()
    assert common == pytest.approx(0.5, abs=0.1)


def test_equal_generators_mix_alike():
    first, second = (
        drawn(torch.Generator().manual_seed(3), mixup=0.5, noise=0.5) for _ in range(2)
    )
    assert torch.equal(first.images, second.images)


def test_people_are_shown_what_the_source_draws_and_then_what_is_learned(generator):
    (first, plain), (last, mixed) = Mixed(Flat(), IMAGE, mixup=1.0).stages(COUNT, generator)
    assert (first, last) == ("images as they are drawn", "some mixed or made noisy")
    assert torch.equal(plain, Flat().draw(COUNT, generator).images)
    assert not torch.equal(mixed, clamped(plain, IMAGE))
