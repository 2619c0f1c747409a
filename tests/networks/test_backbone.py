"""Checkpoints that others give away: what is taken of them, and what is refused."""

import pytest
import torch
from safetensors.torch import save_file

from envoi.errors import StudyError
from envoi.networks import build
from envoi.networks.backbone import load_backbone


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


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_of_torch_is_read_as_tensors(wrapped, tmp_path):
    state, path = network_of(seed=1).state_dict(), tmp_path / "a.pth"
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, path)
    assert same(load_backbone(network_of(), path), network_of(seed=1))


def test_code_in_a_file_of_torch_is_not_run(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (tmp_path.joinpath("owned").touch, ())

    torch.save({"conv1.weight": Hostile()}, tmp_path / "a.pth")
    with pytest.raises(StudyError, match="found another format, or more than tensors"):
        load_backbone(network_of(), tmp_path / "a.pth")
    assert not (tmp_path / "owned").exists()


def test_a_grey_network_answers_as_the_colour_one_answers_three_equal_channels(tmp_path):
    colour = network_of(seed=1).eval()
    grey = load_backbone(network_of(channels=1), checkpoint(tmp_path / "a.safetensors")).eval()
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)))


def test_what_is_no_checkpoint_is_told(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"PK not a checkpoint")
    (tmp_path / "b.safetensors").write_bytes(b"PK not a checkpoint")
    for name in ("a.pth", "b.safetensors"):
        with pytest.raises(StudyError, match=f"{name}: expected a checkpoint of tensors"):
            load_backbone(network_of(), tmp_path / name)
    with pytest.raises(StudyError, match="found no readable file"):
        load_backbone(network_of(), tmp_path / "c.safetensors")
    torch.save([1, 2], tmp_path / "d.pth")
    with pytest.raises(StudyError, match="found something else than named tensors"):
        load_backbone(network_of(), tmp_path / "d.pth")
