"""The fixed description: the same for equal images wherever, whenever and beside whatever."""

import json
import subprocess
import sys

import pytest
import torch

from envoi.networks.descriptor import TEXTURE_FILTERS, Descriptor

SIZES = (1, 5, 9, 28, 224)
# Checksums of both layers' filters and of the features of `waves`, by channels.
PINNED = {1: (-5.3545, 6.1232, 14.9031), 3: (-6.3212, 9.1852, 36.7105)}


def pictures(count, channels, size, seed=0):
    return torch.randn(
        count, channels, size, size, generator=torch.Generator().manual_seed(seed)
    ).clamp(-1, 1)


def texture(descriptor, images):
    return descriptor(images)[:, descriptor.spectrum.dimension :]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_features_have_the_dimension_that_is_promised(size, channels):
    descriptor = Descriptor(channels, size)
    found = descriptor(pictures(2, channels, size))
    assert found.shape == (2, descriptor.dimension)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert descriptor.dimension == descriptor.spectrum.dimension + 2 * sum(TEXTURE_FILTERS)
    torch.testing.assert_close(
        found[:, : descriptor.spectrum.dimension],
        descriptor.spectrum.features(pictures(2, channels, size)),
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [9, 28, 64])
def test_texture_does_not_change_with_brightness(size, channels):
    descriptor, images = Descriptor(channels, size), pictures(3, channels, size)
    plain = texture(descriptor, images)
    torch.testing.assert_close(texture(descriptor, images + 0.7), plain, rtol=0, atol=1e-5)
    assert (texture(descriptor, 2 * images) - plain).abs().max() > 0.1


def test_an_even_image_has_no_texture():
    found = texture(Descriptor(3, 28), torch.full((1, 3, 28, 28), 0.4))
    means, squares = found[0].reshape(2, 2, -1).unbind(dim=1)
    assert means.abs().max() < 1e-5
    torch.testing.assert_close(squares, torch.full_like(squares, 1e-3))


def test_texture_tells_stripes_apart():
    ramp = torch.arange(28.0) % 4 / 2 - 0.75
    across, down = ramp.expand(1, 1, 28, 28), ramp[:, None].expand(1, 1, 28, 28)
    descriptor = Descriptor(1, 28)
    assert (texture(descriptor, across) - texture(descriptor, down)).abs().max() > 0.1


@pytest.mark.parametrize("channels", [1, 3])
def test_every_number_of_images_gives_the_same_features(channels, monkeypatch):
    descriptor, images = Descriptor(channels, 28), pictures(9, channels, 28)
    whole = descriptor(images)
    for size in (1, 2, 5):
        monkeypatch.setattr("envoi.networks.descriptor._BATCH", size)
        torch.testing.assert_close(descriptor(images), whole, rtol=1e-5, atol=1e-5)
    monkeypatch.undo()
    torch.testing.assert_close(descriptor(images[3:4]), whole[3:4], rtol=1e-5, atol=1e-5)
    last = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(descriptor(last), whole, rtol=1e-5, atol=1e-5)


def checksum(values):
    """A sum with weights, so that other numbers or another order give another one."""
    flat = values.flatten().double()
    return float((flat * torch.arange(len(flat)).double().sin()).sum())


def waves(channels, size):
    """One image of the same pixels on every machine."""
    place = torch.arange(size) / size
    frequencies = torch.arange(1, channels + 1)[:, None, None] * 5.0
    return (frequencies * (place[:, None] + place.square())).sin()[None]


@pytest.mark.parametrize("channels", sorted(PINNED))
def test_filters_and_features_are_those_of_every_release(channels):
    """Moments are added up over sites: others would need another version of the format."""
    descriptor = Descriptor(channels, 28)
    found = [checksum(filters) for filters in descriptor._filters]
    found.append(checksum(descriptor(waves(channels, 28))))
    assert found == pytest.approx(PINNED[channels], abs=1e-3)


def test_filters_are_the_same_in_every_process_and_after_any_draws():
    torch.rand(7)
    code = (
        "import json, torch\n"
        "torch.manual_seed(9)\n"
        "from envoi.networks.descriptor import Descriptor\n"
        "filters = Descriptor(3, 64)._filters\n"
        "print(json.dumps([each.sum(dim=0).tolist() for each in filters]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = [each.sum(dim=0).tolist() for each in Descriptor(3, 28)._filters]
    assert json.loads(done.stdout) == here


@pytest.mark.parametrize("channels", [1, 3])
def test_filters_have_sum_zero_and_norm_one(channels):
    first, second = Descriptor(channels, 28)._filters
    assert first.shape == (TEXTURE_FILTERS[0], channels, 5, 5)
    assert second.shape == (TEXTURE_FILTERS[1], TEXTURE_FILTERS[0], 5, 5)
    for filters in (first, second):
        flat = filters.flatten(1)
        assert flat.sum(dim=1).abs().max() < 1e-4
        torch.testing.assert_close(flat.norm(dim=1), torch.ones(len(flat)))
