"""Checkpoints: resumed to the same bits, and never with another job's state."""

import time

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.nn import functional

from envoi.checkpoint import (
    Checkpoint,
    optimiser_state,
    pack,
    restore_module,
    restore_optimiser,
    unpack,
)
from envoi.errors import SettingsError, StorageError

STATE = {"step": torch.tensor(3), "weights/fc": torch.arange(6.0).reshape(2, 3)}

OPTIMISERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-2),
    "sgd-plain": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.1, weight_decay=1e-2),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.1, amsgrad=True),
}


def saved(path, *, fingerprint="job"):
    Checkpoint(path, fingerprint=fingerprint).save(STATE)
    return path


def tiny_network():
    generator = torch.Generator().manual_seed(1)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network.to(memory_format=torch.channels_last)


def steps(network, optimiser, count, *, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        images = torch.randn(4, 2, 4, 4, generator=generator)
        optimiser.zero_grad()
        functional.cross_entropy(network(images), torch.tensor([0, 1, 0, 1])).backward()
        optimiser.step()


def test_what_is_saved_is_loaded(tmp_path):
    loaded = Checkpoint(saved(tmp_path / "job"), fingerprint="job").load()
    assert loaded.keys() == STATE.keys()
    assert all(
        loaded[key].equal(STATE[key]) and loaded[key].dtype == STATE[key].dtype for key in STATE
    )


def test_other_memory_orders_and_gradients_are_saved_as_values(tmp_path):
    image = torch.randn(2, 3, 4, 4, requires_grad=True).contiguous(
        memory_format=torch.channels_last
    )
    checkpoint = Checkpoint(tmp_path / "job")
    checkpoint.save({"image": image, "turned": image.mT})
    loaded = checkpoint.load()
    assert loaded["image"].equal(image.detach())
    assert loaded["turned"].equal(image.detach().mT)
    assert not loaded["image"].requires_grad


def test_the_file_is_safetensors_with_the_fingerprint(tmp_path):
    with safe_open(saved(tmp_path / "job"), framework="pt") as file:
        assert file.metadata()["fingerprint"] == "job"
        assert set(file.keys()) == set(STATE)


def test_time_of_all_attempts_is_carried_along(tmp_path, monkeypatch):
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    first = Checkpoint(tmp_path / "job")
    first.load()
    assert first.earlier_seconds == 0
    first.save(STATE)
    second = Checkpoint(tmp_path / "job")
    second.load()
    second.load()
    assert second.earlier_seconds == 10
    second.save(STATE)
    third = Checkpoint(tmp_path / "job")
    third.load()
    assert third.earlier_seconds == 20


def test_nothing_saved_is_nothing_loaded(tmp_path):
    assert Checkpoint(tmp_path / "job").load() is None
    assert Checkpoint().load() is None


def test_a_loop_that_is_not_resumed_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = Checkpoint(every_seconds=0)
    checkpoint.save(STATE)
    checkpoint.offer(lambda: STATE)
    checkpoint.clear()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fingerprint", ["", "other"])
def test_the_state_of_another_job_is_refused(fingerprint, tmp_path):
    path = saved(tmp_path / "job.checkpoint")
    message = (
        "job.checkpoint: expected the checkpoint of this very job, "
        "found the state of a job with other settings or inputs. Restore the settings"
    )
    with pytest.raises(SettingsError, match=message):
        Checkpoint(path, fingerprint=fingerprint).load()
    assert path.exists()


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def overwrite(path):
    path.write_bytes(b"not tensors")


def empty(path):
    path.write_bytes(b"")


def replace_by_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, overwrite, empty, replace_by_folder])
def test_a_damaged_file_is_refused(damage, tmp_path):
    path = saved(tmp_path / "job")
    damage(path)
    with pytest.raises(StorageError, match="job: expected a checkpoint, found a damaged file. Rem"):
        Checkpoint(path, fingerprint="job").load()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="expected a folder, found a file of that name"):
        Checkpoint(tmp_path / "taken" / "job").save(STATE)


def test_offers_are_taken_when_the_last_write_is_long_ago(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    checkpoint = Checkpoint(tmp_path / "job", every_seconds=20)
    asked = []

    def state():
        asked.append(now)
        return STATE

    for now in (110.0, 119.9, 120.0, 121.0, 139.9, 140.0):  # noqa: B007  (read by the clock)
        checkpoint.offer(state)
    assert asked == [120.0, 140.0]


def test_clearing_forgets_and_may_be_repeated(tmp_path):
    checkpoint = Checkpoint(saved(tmp_path / "job"))
    checkpoint.clear()
    checkpoint.clear()
    assert checkpoint.load() is None


def test_packing_copies_and_unpacking_takes_the_part(tmp_path):
    weights = torch.zeros(2)
    state = {**pack("a", {"w": weights, "b/c": weights}), **pack("ab", {"w": weights})}
    weights += 1
    assert set(state) == {"a/w", "a/b/c", "ab/w"}
    assert unpack("a", state).keys() == {"w", "b/c"}
    assert not unpack("a", state)["w"].any()
    assert unpack("nothing", state) == {}


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_a_resumed_optimiser_takes_the_same_next_steps(kind, tmp_path):
    network = tiny_network()
    optimiser = OPTIMISERS[kind](network.parameters())
    steps(network, optimiser, 3, seed=0)
    checkpoint = Checkpoint(tmp_path / "job")
    checkpoint.save(
        {**pack("network", network.state_dict()), **pack("optimiser", optimiser_state(optimiser))}
    )
    steps(network, optimiser, 2, seed=9)

    twin = tiny_network()
    other = OPTIMISERS[kind](twin.parameters())
    state = checkpoint.load()
    restore_module(twin, unpack("network", state))
    restore_optimiser(other, unpack("optimiser", state))
    steps(twin, other, 2, seed=9)
    wanted = network.state_dict()
    assert all(tensor.equal(wanted[name]) for name, tensor in twin.state_dict().items())


def test_without_the_optimisers_state_the_next_step_would_differ():
    network, twin = tiny_network(), tiny_network()
    optimiser = OPTIMISERS["adam"](network.parameters())
    steps(network, optimiser, 3, seed=0)
    restore_module(twin, network.state_dict())
    steps(network, optimiser, 1, seed=9)
    steps(twin, OPTIMISERS["adam"](twin.parameters()), 1, seed=9)
    assert not twin[0].weight.equal(network[0].weight)


def test_restoring_keeps_the_settings_of_the_optimiser():
    network = tiny_network()
    optimiser = OPTIMISERS["adam"](network.parameters())
    steps(network, optimiser, 1, seed=0)
    slower = torch.optim.Adam(network.parameters(), lr=0.001)
    restore_optimiser(slower, optimiser_state(optimiser))
    assert slower.param_groups[0]["lr"] == 0.001
    assert slower.state_dict()["state"].keys() == optimiser.state_dict()["state"].keys()


def test_an_optimiser_that_never_stepped_has_no_state():
    network = tiny_network()
    optimiser = OPTIMISERS["adam"](network.parameters())
    assert optimiser_state(optimiser) == {}
    restore_optimiser(optimiser, {})
    assert optimiser_state(optimiser) == {}


@pytest.mark.parametrize("change", [lambda s: s.pop("3.bias"), lambda s: s.update(x=torch.ones(1))])
def test_a_module_takes_its_whole_state_and_no_other(change):
    network = tiny_network()
    state = network.state_dict()
    change(state)
    with pytest.raises(RuntimeError, match="Missing key|Unexpected key"):
        restore_module(network, state)
