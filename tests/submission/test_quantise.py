import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envoi.submission import quantised
from envoi.submission.quantise import decoded, encoded

FORMATS = ["fp32", "fp16", "int8"]


def weights(seed, scale=1.0, shape=(6, 5, 3, 3)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * scale


@given(seed=st.integers(0, 1000), exponent=st.integers(-30, 7))
def test_int8_errs_by_half_a_scale_at_most(seed, exponent):
    given = weights(seed, 10.0**exponent)
    back = quantised({"w": given}, "int8")["w"]
    half = given.flatten(1).abs().amax(dim=1) / 127 / 2
    error = (back - given).flatten(1).abs().amax(dim=1)
    assert (error <= half * (1 + 1e-4)).all()


@given(seed=st.integers(0, 1000), exponent=st.integers(-3, 3))
def test_fp16_errs_by_its_precision(seed, exponent):
    given = weights(seed, 10.0**exponent)
    back = quantised({"w": given}, "fp16")["w"]
    assert ((back - given).abs() <= given.abs() * 2**-11 + 2**-25).all()


@pytest.mark.parametrize("weight_format", FORMATS)
def test_a_second_pass_changes_nothing_more(weight_format):
    once = quantised({"w": weights(1)}, weight_format)
    twice = quantised(once, weight_format)
    assert torch.allclose(once["w"], twice["w"], rtol=1e-6, atol=0)


@pytest.mark.parametrize("weight_format", FORMATS)
def test_one_dimensional_tensors_are_exact(weight_format):
    state = {"bn.running_var": torch.tensor([1e-12, 1e7]), "fc.bias": torch.tensor([1 / 3])}
    back = quantised(state, weight_format)
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())
    assert list(back) == list(state)


def test_channels_of_zeros_and_of_tiny_numbers():
    given = torch.zeros(3, 4)
    given[1] = 1e-42
    given[2] = 2.54
    stored = encoded({"w": given}, "int8")
    assert (stored["scale/w"] > 0).all()
    back = decoded(stored)["w"]
    assert not back[0].any()
    assert torch.isfinite(back).all()
    assert torch.allclose(back[2], given[2])


def test_levels_reach_127_and_never_minus_128():
    levels = encoded({"w": weights(2)}, "int8")["network/w"]
    assert levels.dtype == torch.int8
    assert int(levels.abs().amax()) == 127
    assert int(levels.min()) >= -127


def test_decoding_empties_what_it_was_given():
    stored = encoded({"w": weights(3), "b": torch.ones(2)}, "int8")
    stored["statistics/feature_means"] = torch.ones(1)
    state = decoded(stored)
    assert set(state) == {"w", "b"}
    assert set(stored) == {"statistics/feature_means"}


def test_gradients_and_doubles_are_taken():
    state = {"w": weights(4).double().requires_grad_()}
    back = quantised(state, "fp32")["w"]
    assert back.dtype == torch.float32
    assert not back.requires_grad


def test_formats_rank_by_their_loss_of_accuracy():
    state = {"w": weights(5)}
    losses = [float((quantised(state, name)["w"] - state["w"]).norm()) for name in FORMATS]
    assert losses[0] == 0
    assert losses[0] < losses[1] < losses[2]
