"""Weights are a function of the seed, or come from a file that fits."""

import math

import pytest
import torch
from safetensors.torch import save_file

from envoi.errors import StudyError
from envoi.networks import architecture, build
from envoi.networks.initialisation import (
    load_backbone,
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


def checkpoint(path, *, classes=4, seed=1, channels=3, without=(), **changes):
    """A trained backbone as others give it away: torchvision's names, batch counters too."""
    state = network_of(classes=classes, seed=seed, channels=channels).state_dict()
    state = {name: t.contiguous() for name, t in state.items() if name not in without}
    save_file({**state, **changes}, path)
    return path


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


def test_a_backbone_with_the_same_head_is_loaded_whole(tmp_path):
    network = load_backbone(network_of(), checkpoint(tmp_path / "backbone.safetensors"))
    assert same(network, network_of(seed=1))


def test_a_backbone_with_another_head_leaves_the_head_fresh(tmp_path):
    path = checkpoint(tmp_path / "backbone.safetensors", classes=1000)
    network, fresh = load_backbone(network_of(), path), network_of()
    assert network.fc.weight.equal(fresh.fc.weight)
    assert network.fc.bias.equal(fresh.fc.bias)
    given = network_of(classes=1000, seed=1).state_dict()
    rest = {n: t for n, t in network.state_dict().items() if not n.startswith("fc.")}
    assert all(tensor.equal(given[name]) for name, tensor in rest.items())


def test_a_backbone_without_head_or_counters_or_with_more_is_loaded(tmp_path):
    counters = [n for n in network_of().state_dict() if n.endswith("num_batches_tracked")]
    without = ["fc.weight", "fc.bias", *counters]
    path = checkpoint(tmp_path / "a.safetensors", without=without, extra=torch.ones(2))
    network = load_backbone(network_of(), path)
    assert network.conv1.weight.equal(network_of(seed=1).conv1.weight)
    assert network.fc.weight.equal(network_of().fc.weight)


def test_half_precision_backbones_become_single(tmp_path):
    weight = network_of(seed=1).conv1.weight.detach().half().contiguous()
    path = checkpoint(tmp_path / "a.safetensors", **{"conv1.weight": weight})
    network = load_backbone(network_of(), path)
    assert network.conv1.weight.dtype == torch.float32
    assert network.conv1.weight.equal(weight.float())


def test_a_missing_tensor_is_named(tmp_path):
    path = checkpoint(tmp_path / "a.safetensors", without=["layer2.0.conv1.weight"])
    message = (
        r"a.safetensors: expected layer2.0.conv1.weight of shape \(32, 16, 3, 3\), found nothing"
    )
    with pytest.raises(StudyError, match=message):
        load_backbone(network_of(), path)


def test_a_tensor_of_another_shape_is_named_and_nothing_is_loaded(tmp_path):
    path, network = checkpoint(tmp_path / "a.safetensors", channels=1), network_of()
    message = (
        r"conv1.weight of shape \(16, 3, 3, 3\), found shape \(16, 1, 3, 3\). Give a checkpoint"
    )
    with pytest.raises(StudyError, match=message):
        load_backbone(network, path)
    assert same(network, network_of())


def test_another_architecture_is_told_in_five_lines(tmp_path):
    path = checkpoint(tmp_path / "a.safetensors")
    with pytest.raises(StudyError) as caught:
        load_backbone(network_of("vgg8"), path)
    assert len(caught.value.problems) == 5


def test_what_is_no_checkpoint_is_told(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"PK not safetensors")
    with pytest.raises(
        StudyError, match="a.pth: expected a safetensors file, found another format"
    ):
        load_backbone(network_of(), tmp_path / "a.pth")
    with pytest.raises(StudyError, match="b: expected a safetensors file, found no readable file"):
        load_backbone(network_of(), tmp_path / "b")
