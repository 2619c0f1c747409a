"""Weights are a function of the seed."""

import math

import pytest
import torch

from envoi.networks import architecture, build
from envoi.networks.initialisation import (
    load_trained,
    skeleton,
    state_shapes,
)
from envoi.seeding import torch_generator

NAMES = ("resnet10-small", "resnet10-small-gn", "wrn-16-2", "vgg8")


def network_of(name="resnet10-small", *, channels=3, classes=4, seed=0):
    return build(name, channels=channels, classes=classes, seed=seed)


def same(first, second):
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(one[name].equal(two[name]) for name in one)


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_bits_and_others_do_not(name):
    first, again, other = (network_of(name, seed=seed) for seed in (0, 0, 1))
    assert same(first, again)
    differ = [
        part for part, weight in first.named_parameters()
        if not weight.equal(dict(other.named_parameters())[part])
    ]  # fmt: skip
    drawn = [part for part, w in first.named_parameters() if w.dim() > 1 or part == "fc.bias"]
    assert set(differ) == set(drawn)


def test_weights_do_not_depend_on_the_state_of_torch():
    torch.rand(3)
    first = network_of()
    torch.rand(5)
    before = torch.get_rng_state()
    assert same(first, network_of())
    assert torch.get_rng_state().equal(before)


def test_layers_have_streams_of_their_own():
    # Another number of classes or channels changes no other layer.
    first, second = network_of(classes=4), network_of(classes=9)
    assert first.layer4[0].conv2.weight.equal(second.layer4[0].conv2.weight)
    assert first.layer1[0].conv1.weight.equal(network_of(channels=1).layer1[0].conv1.weight)


def test_weights_are_hes_and_the_head_torchs():
    network = network_of("vgg8", classes=50)
    for module in network.stages:
        if isinstance(module, torch.nn.Conv2d):
            wanted = math.sqrt(2 / (module.out_channels * 9))
            assert module.weight.std().item() == pytest.approx(wanted, rel=0.05)
    bound = 1 / math.sqrt(512)
    assert 0.95 * bound < network.fc.weight.abs().max() <= bound
    assert network.fc.bias.abs().max() <= bound
    stream = torch_generator(0, "initialisation", "fc")
    wanted = torch.empty(50, 512).uniform_(-bound, bound, generator=stream)
    assert network.fc.weight.equal(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_norms_start_as_the_identity(name):
    for part, tensor in network_of(name).state_dict().items():
        leaf = part.rsplit(".", 1)[1]
        if tensor.dim() < 2 and not part.startswith("fc."):
            wanted = 1.0 if leaf in {"weight", "running_var"} else 0.0
            assert (tensor == wanted).all(), part


def test_a_skeleton_needs_no_memory():
    network = skeleton(architecture("resnet34-imagenet"), channels=3, classes=1000)
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_those_of_the_network_without_batch_counters(name):
    shapes = state_shapes(architecture(name), channels=3, classes=4)
    state = network_of(name).state_dict()
    wanted = {n: tuple(t.shape) for n, t in state.items() if "num_batches" not in n}
    assert list(shapes.items()) == list(wanted.items())


def test_a_trained_state_is_loaded_whole():
    trained, fresh = network_of(seed=1), network_of(seed=0)
    state = {name: t for name, t in trained.state_dict().items() if t.dim() > 0}
    assert load_trained(fresh, state) is fresh
    assert same(trained, fresh)
    del state["conv1.weight"]
    with pytest.raises(RuntimeError, match="Missing key.*conv1.weight"):
        load_trained(fresh, state)
