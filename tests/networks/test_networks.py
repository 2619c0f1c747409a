"""Every architecture: what it answers, its names and its numbers of parameters."""

import pytest
import torch
from torch import nn

from envoi.errors import StudyError
from envoi.networks import ARCHITECTURES, Family, Norm, Stem, architecture, build
from envoi.networks.classifier import (
    batch_norm_layers,
    chosen_device,
    device_of,
    freeze,
    norm_layer,
)
from envoi.networks.initialisation import skeleton

SMALL = ("resnet10-small", "resnet10-small-gn", "wrn-16-2", "wrn-16-2-gn")
BATCH_NORM = [name for name, plan in ARCHITECTURES.items() if plan.norm is Norm.BATCH]


def parameters_of(name, *, channels=3, classes=10):
    network = skeleton(architecture(name), channels=channels, classes=classes)
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture
def photographs():
    return torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_answer_photographs_of_28_pixels(name, photographs):
    network = build(name, channels=3, classes=5, seed=0)
    logits = network(photographs)
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("channels", "size_px"), [(1, 28), (3, 224)])
def test_every_network_fits_every_image(name, channels, size_px):
    network = skeleton(architecture(name), channels=channels, classes=7)
    images = torch.empty(2, channels, size_px, size_px, device="meta")
    assert network(images).shape == (2, 7)
    assert network.features(images).shape == (2, network.fc.in_features)


@pytest.mark.parametrize("name", [n for n, p in ARCHITECTURES.items() if p.family is Family.VGG])
def test_vgg_never_halves_below_one_pixel(name):
    network = skeleton(architecture(name), channels=1, classes=2)
    assert network.trunk(torch.empty(2, 1, 3, 3, device="meta")).shape[2:] == (1, 1)


@pytest.mark.parametrize("name", SMALL)
def test_logits_are_the_linear_head_of_the_features(name, photographs):
    network = freeze(build(name, channels=3, classes=5, seed=0))
    features = network.features(photographs)
    torch.testing.assert_close(features, network.trunk(photographs).mean(dim=(2, 3)))
    wanted = features @ network.fc.weight.T + network.fc.bias
    torch.testing.assert_close(network(photographs), wanted)


@pytest.mark.parametrize(
    ("name", "classes", "wanted"),
    [
        ("resnet18-imagenet", 1000, 11_689_512),  # torchvision's resnet18
        ("resnet34-imagenet", 1000, 21_797_672),  # torchvision's resnet34
        ("resnet18", 10, 11_173_962),  # the usual one for CIFAR-10
        ("wrn-16-2", 10, 691_674),  # 0.7 M in the paper (1605.07146, table 5)
    ],
)
def test_parameters_are_as_many_as_published(name, classes, wanted):
    assert parameters_of(name, classes=classes) == wanted


def test_vgg11_has_the_papers_convolutions():
    # The feature extractor of torchvision's vgg11_bn, whose 2,752 biases batch norm undoes.
    assert parameters_of("vgg11", classes=10) == 9_225_984 - 2_752 + 512 * 10 + 10


def test_names_are_torchvisions():
    names = skeleton(architecture("resnet18-imagenet"), channels=3, classes=1000).state_dict()
    block = [
        f"{layer}.{leaf}"
        for layer, leaves in (
            ("conv1", ("weight",)),
            ("bn1", ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
            ("conv2", ("weight",)),
            ("bn2", ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        )
        for leaf in leaves
    ]
    shortcut = [
        "downsample.0.weight",
        *(f"downsample.1.{leaf.split('.')[1]}" for leaf in block if leaf.startswith("bn1")),
    ]
    wanted = [name for name in block if name.startswith(("conv1", "bn1"))]
    for stage in (1, 2, 3, 4):
        for number in (0, 1):
            extra = shortcut if stage > 1 and number == 0 else []
            wanted += [f"layer{stage}.{number}.{name}" for name in (*block, *extra)]
    assert list(names) == [*wanted, "fc.weight", "fc.bias"]
    assert names["conv1.weight"].shape == (64, 3, 7, 7)
    assert names["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)


def test_the_large_stem_quarters_and_the_small_one_keeps_the_size():
    images = torch.empty(1, 3, 224, 224, device="meta")
    trunks = {
        name: skeleton(architecture(name), channels=3, classes=2).trunk(images)
        for name in ("resnet18", "resnet18-imagenet")
    }
    assert trunks["resnet18"].shape == (1, 512, 28, 28)
    assert trunks["resnet18-imagenet"].shape == (1, 512, 7, 7)
    assert architecture("resnet18-imagenet").stem is Stem.LARGE


def test_a_basic_block_adds_its_shortcut_before_the_last_relu(photographs):
    network = build("resnet10-small", channels=3, classes=2, seed=0).eval()
    block = network.layer2[0]
    maps = network.layer1(network.bn1(network.conv1(photographs)).relu())
    inner = block.bn2(block.conv2(block.bn1(block.conv1(maps)).relu()))
    torch.testing.assert_close(block(maps), (inner + block.downsample(maps)).relu())
    assert isinstance(network.layer1[0].downsample, nn.Identity)


def test_a_wide_block_activates_before_its_convolutions(photographs):
    network = build("wrn-16-2", channels=3, classes=2, seed=0).eval()
    first, second = network.blocks[0], network.blocks[1]
    maps = network.conv1(photographs)
    active = first.bn1(maps).relu()
    inner = first.conv2(first.bn2(first.conv1(active)).relu())
    torch.testing.assert_close(first(maps), inner + first.shortcut(active))
    maps = first(maps)
    inner = second.conv2(second.bn2(second.conv1(second.bn1(maps).relu())).relu())
    torch.testing.assert_close(second(maps), inner + maps)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_batch_norm_and_group_norm_do_not_mix(name):
    modules = list(skeleton(architecture(name), channels=1, classes=2).modules())
    kinds = {type(m) for m in modules if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)}
    assert kinds == {nn.BatchNorm2d if name in BATCH_NORM else nn.GroupNorm}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_activations_are_never_changed_in_place(name):
    network = skeleton(architecture(name), channels=1, classes=2)
    assert not [m for m in network.modules() if getattr(m, "inplace", False)]


def test_batch_norm_layers_come_in_the_order_of_their_inputs(photographs):
    network = build("resnet10-small", channels=3, classes=2, seed=0)
    layers, called = batch_norm_layers(network), []
    for layer in layers:
        layer.register_forward_pre_hook(lambda module, _: called.append(module))
    network(photographs)
    assert called == layers
    assert len(layers) == 12


@pytest.mark.parametrize(("channels", "groups"), [(64, 8), (8, 1), (4, 1)])
def test_group_norm_has_groups_of_eight_channels(channels, groups):
    assert norm_layer(Norm.GROUP, channels).num_groups == groups


def test_a_frozen_network_has_no_gradients_and_keeps_its_statistics(photographs):
    network = build("resnet10-small", channels=3, classes=2, seed=0)
    assert freeze(network) is network
    before = network.bn1.running_mean.clone()
    assert not network(photographs).requires_grad
    assert network.bn1.running_mean.equal(before)


@pytest.mark.parametrize(
    ("asked", "has_gpu", "wanted"),
    [
        (None, False, "cpu"),
        (None, True, "cuda:3"),
        ("cuda", True, "cuda:3"),
        ("cuda:1", True, "cuda:1"),
        ("cpu", True, "cpu"),
    ],
)
def test_the_first_gpu_is_chosen_where_there_is_one(asked, has_gpu, wanted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert chosen_device(asked and torch.device(asked)) == torch.device(wanted)


def test_the_device_is_that_of_the_weights():
    assert device_of(build("resnet10-small", channels=1, classes=2, seed=0)).type == "cpu"
    meta = skeleton(architecture("vgg8"), channels=1, classes=2)
    assert device_of(meta).type == "meta"


@pytest.mark.parametrize(
    "call", [architecture, lambda name: build(name, channels=1, classes=2, seed=0)]
)
def test_an_unknown_architecture_is_told(call):
    message = r"architecture: expected one of convnet-small, .*, vgg11, found 'resnet50'"
    with pytest.raises(StudyError, match=message):
        call("resnet50")
