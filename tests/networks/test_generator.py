"""The image generator: sizes, range, and weights that are a function of the seed."""

import pytest
import torch

from envoi.networks.classifier import batch_norm_layers
from envoi.networks.generator import LATENT, image_generator, map_sizes_px
from envoi.seeding import torch_generator
from envoi.types import ImageSpec


def latents(number):
    return torch.randn(number, LATENT, generator=torch_generator(0, "latents"))


@pytest.mark.parametrize(
    ("size_px", "sizes"),
    [
        (28, (7, 14, 28)),
        (30, (8, 15, 30)),
        (32, (8, 16, 32)),
        (64, (16, 32, 64)),
        (224, (14, 28, 56, 112, 224)),
        (8, (2, 4, 8)),
        (1, (1, 1, 1)),
    ],
)
def test_a_small_map_is_doubled_twice_and_more_often_for_large_images(size_px, sizes):
    assert map_sizes_px(size_px) == sizes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size_px", [28, 30, 32, 33, 64])
def test_images_have_the_studys_shape(channels, size_px):
    network = image_generator(ImageSpec.of(channels, size_px), torch.Generator())
    assert network(latents(2)).shape == (2, channels, size_px, size_px)


def test_images_of_224_pixels_need_no_linear_map_of_100_million_weights():
    network = image_generator(ImageSpec.of(1, 224), torch.Generator())
    assert sum(parameter.numel() for parameter in network.parameters()) < 10_000_000
    assert network(latents(2)).shape == (2, 1, 224, 224)


def test_pixels_lie_in_the_studys_range_channel_by_channel():
    spec = ImageSpec(3, 28, mean=(0.2, 0.5, 0.9), deviation=(0.1, 0.5, 2.0))
    network = image_generator(spec, torch.Generator())
    with torch.no_grad():
        network.exit.weight.mul_(1e4)
        images = network(latents(8))
    for channel, (mean, deviation) in enumerate(zip(spec.mean, spec.deviation, strict=True)):
        found = images[:, channel]
        assert found.min().item() == pytest.approx(-mean / deviation, abs=1e-3)
        assert found.max().item() == pytest.approx((1 - mean) / deviation, abs=1e-3)


def test_equal_seeds_give_equal_weights_and_nothing_is_drawn_from_the_global_stream():
    before = torch.get_rng_state()
    first, second, other = (
        image_generator(ImageSpec.of(3, 28), torch.Generator().manual_seed(seed)).state_dict()
        for seed in (1, 1, 2)
    )
    assert torch.get_rng_state().equal(before)
    assert all(first[name].equal(second[name]) for name in first)
    assert not first["project.weight"].equal(other["project.weight"])


def test_weights_start_as_dcgan_has_them():
    network = image_generator(ImageSpec.of(3, 28), torch.Generator())
    assert network.project.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert network.exit.bias.abs().max().item() == 0
    for layer in batch_norm_layers(network):
        assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)
        assert 0.01 < layer.weight.std().item() < 0.03
        assert layer.running_var.unique().tolist() == [1]


def test_every_weight_and_every_latent_gets_a_gradient():
    network = image_generator(ImageSpec.of(1, 30), torch.Generator())
    start = latents(4).requires_grad_()
    wanted = torch.randn(4, 1, 30, 30, generator=torch_generator(0, "wanted"))
    (network(start) * wanted).sum().backward()
    gradients = [start.grad, *(parameter.grad for parameter in network.parameters())]
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)
