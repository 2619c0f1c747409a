"""Statistics of the inputs of batch norm, against torch's own."""

import pytest
import torch
from torch import nn

from envoi.networks import build
from envoi.networks.classifier import batch_norm_layers
from envoi.networks.statistics import (
    channel_statistics,
    reading_batch_statistics,
    seen_statistics,
    stored_statistics,
    weight_sharing_copy,
)


def random_maps(*shape, seed=0, dtype=torch.double):
    generator = torch.Generator().manual_seed(seed)
    return 3 + 2 * torch.randn(shape, generator=generator, dtype=dtype)


def reference(maps):
    variance, mean = torch.var_mean(maps, dim=(0, 2, 3), correction=0)
    return mean, variance


@pytest.fixture
def network():
    """Has seen images, so that its running statistics are not those of a fresh one."""
    network = build("resnet10-small", channels=3, classes=2, seed=0)
    with torch.no_grad():
        network(random_maps(8, 3, 8, 8, dtype=torch.float32))
    return network


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (4, 3, 5, 2), (2, 7, 1, 3)])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_moments_are_torchs(shape, order):
    maps = random_maps(*shape).contiguous(memory_format=order)
    stats = channel_statistics(maps)
    torch.testing.assert_close((stats.mean, stats.variance), reference(maps))


def test_gradients_are_right():
    maps = random_maps(3, 2, 3, 2).requires_grad_()

    def moments(given):
        stats = channel_statistics(given)
        return stats.mean, stats.variance

    assert torch.autograd.gradcheck(moments, maps)


def test_gradients_are_torchs_when_stacked_too():
    maps = random_maps(4, 3, 2, 3, 2).requires_grad_()

    def loss_with(moments):
        def loss(given):
            mean, variance = moments(given)
            return (mean**2 + variance**3).sum()

        return torch.autograd.grad(torch.vmap(loss)(maps).sum(), maps)[0]

    def own(given):
        stats = channel_statistics(given)
        return stats.mean, stats.variance

    torch.testing.assert_close(loss_with(own), loss_with(reference))


def test_seen_statistics_are_those_of_each_forward_pass(network):
    images = random_maps(5, 3, 8, 8, seed=1, dtype=torch.float32)
    with seen_statistics(network) as seen:
        network(images)
        layers = len(seen)
        network(images)
    network(images)
    assert layers == 12
    assert len(seen) == 24
    first = reference(network.conv1(images))
    torch.testing.assert_close((seen[0].mean, seen[0].variance), first)


def test_hooks_are_removed_even_after_a_failure(network):
    with pytest.raises(RuntimeError), seen_statistics(network):
        network(torch.zeros(1, 2, 8, 8))
    assert not any(layer._forward_pre_hooks for layer in batch_norm_layers(network))


def test_stored_statistics_are_the_running_ones(network):
    stored = stored_statistics(network)
    assert len(stored) == 12
    assert stored[0].mean is network.bn1.running_mean
    assert stored[0].variance is network.bn1.running_var


def test_layers_without_running_statistics_store_none():
    assert stored_statistics(nn.BatchNorm2d(2, track_running_stats=False)) == []
    assert stored_statistics(nn.GroupNorm(1, 2)) == []


def test_a_twin_that_reads_batches_computes_what_training_mode_does(network):
    images = random_maps(5, 3, 8, 8, seed=1, dtype=torch.float32)
    twin = reading_batch_statistics(network.eval())
    own = network(images)
    answers = twin(images)
    assert answers.equal(twin(images))
    assert not torch.allclose(answers, own)
    assert network(images).equal(own)
    assert answers.equal(network.train()(images))


def test_a_twin_shares_weights_but_no_statistics(network):
    twin = weight_sharing_copy(network)
    pairs = zip(network.parameters(), twin.parameters(), strict=True)
    assert all(own is other for own, other in pairs)
    before = network.bn1.running_mean.clone()
    twin.train()(random_maps(4, 3, 8, 8, dtype=torch.float32))
    assert network.bn1.running_mean.equal(before)
    assert not twin.bn1.running_mean.equal(before)
