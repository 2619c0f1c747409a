"""Wall time and peak memory of a block."""

import time
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from envoi import meter
from envoi.meter import device_name, environment, flop_counter, metered

MEGABYTES = 1_000_000
on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="memory of the device is measured")


def test_wall_time_is_that_of_the_block(monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with metered() as cost:
        assert cost.wall_seconds == 0
    assert cost.wall_seconds == 2.5


@on_cpu
@pytest.mark.skipif(not meter._MEMORY_RESET.exists(), reason="the peak cannot be forgotten here")
def test_the_peak_is_that_of_the_block():
    with metered() as small:
        pass
    with metered() as large:
        block = np.ones(200 * MEGABYTES, np.uint8)
        del block
    with metered() as after:
        pass
    assert large.peak_bytes - small.peak_bytes > 150 * MEGABYTES
    assert large.peak_bytes - after.peak_bytes > 150 * MEGABYTES


def test_the_cost_of_a_block_that_fails_is_known():
    def fail():
        with metered() as cost:
            costs.append(cost)
            raise KeyboardInterrupt

    costs = []
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert costs[0].wall_seconds > 0
    assert costs[0].peak_bytes > 0


@on_cpu
def test_other_systems_tell_their_highest_resident_set(tmp_path, monkeypatch):
    monkeypatch.setattr(meter, "_MEMORY_RESET", tmp_path / "missing")
    monkeypatch.setattr(meter, "_MEMORY_STATUS", tmp_path / "missing")
    with metered() as cost:
        pass
    assert 10 * MEGABYTES < cost.peak_bytes < 2**45


@on_cpu
def test_the_device_is_called_as_people_call_it(tmp_path, monkeypatch):
    assert device_name().endswith(f", {torch.get_num_threads()} threads")
    monkeypatch.setattr(meter, "_MEMORY_STATUS", tmp_path / "missing")
    assert device_name() == f"CPU, {torch.get_num_threads()} threads"


class FakeGpu:
    """Stands in for `torch.cuda` of a machine that has one."""

    def __init__(self):
        self.asked = []

    def __getattr__(self, name):
        def answer(device):
            self.asked.append((name, device))
            return {"get_device_name": "Some GPU", "max_memory_allocated": 12345}.get(name)

        return answer


def test_a_gpu_is_described_where_it_was_used_and_only_there(monkeypatch):
    gpu, device = FakeGpu(), torch.device("cuda", 1)
    monkeypatch.setattr(torch, "cuda", gpu)
    with metered(device) as cost:
        pass
    assert cost.peak_bytes == 12345
    assert device_name(device) == environment(device)["device"] == "Some GPU"
    assert {asked for _, asked in gpu.asked} == {device}
    gpu.asked.clear()
    with metered(torch.device("cpu")) as cost:
        pass
    assert cost.peak_bytes > MEGABYTES
    assert device_name() == device_name(torch.device("cpu")) != "Some GPU"
    assert gpu.asked == []


@pytest.mark.parametrize("mode", [nullcontext, FakeTensorMode])
def test_attention_is_counted_with_content_and_without(mode):
    """Two heads of two items: 5 places ask 7; a product of (m, n) and (n, k) is 2 m n k."""
    with mode():
        query = torch.zeros(2, 2, 5, 8, requires_grad=True)
        key, value = torch.zeros(2, 2, 2, 7, 8, requires_grad=True)
        with flop_counter() as forward:
            heard = functional.scaled_dot_product_attention(query, key, value)
        with flop_counter() as backward:
            heard.sum().backward()
    product = 2 * (2 * 2) * 5 * 7 * 8
    assert forward.get_total_flops() == 2 * product
    assert backward.get_total_flops() == 5 * product


def test_products_of_matrices_are_counted_as_ever():
    with flop_counter() as counter:
        torch.zeros(3, 4) @ torch.zeros(4, 5)
    assert counter.get_total_flops() == 2 * 3 * 4 * 5
