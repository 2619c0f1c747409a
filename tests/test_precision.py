"""bfloat16 for networks, where it is asked for or where hardware is made for it."""

import dataclasses

import pytest
import torch

from envoi.networks import build
from envoi.precision import computing, exactly, is_lowered
from envoi.server.bank import filled_bank
from envoi.server.consensus import Consensus
from envoi.server.methods import envoi
from envoi.server.synthesis.moment_images import MomentImages
from envoi.settings import Budget

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
BUDGET = Budget(bank_images=64, bank_steps=30, bank_batch=32, bank_rate=1e-3, bank_matrix_rate=1e-3)


def fit(teachers, precision):
    student = build("resnet10-small", channels=3, classes=3, seed=0)
    budget = dataclasses.replace(BUDGET, precision=precision)
    told = []
    generator = torch.Generator().manual_seed(0)
    envoi().fit(teachers, student, budget=budget, generator=generator, on_step=told.append)
    return student, torch.tensor([info.losses["distillation"] for info in told])


@pytest.mark.parametrize("able", [True, False])
def test_left_open_it_is_bfloat16_on_gpus_that_can(able, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: able)
    assert is_lowered("auto", CUDA) == able
    assert not is_lowered("auto", CPU)
    for device in (CPU, CUDA):
        assert is_lowered("bf16", device)
        assert not is_lowered("fp32", device)


def test_networks_are_lowered_and_what_is_exact_is_not():
    layer, values = torch.nn.Linear(4, 4), torch.randn(2, 4)
    with computing("bf16", CPU):
        assert layer(values).dtype == torch.bfloat16
        with exactly(CPU):
            assert layer(values).dtype == torch.float32
    with computing("auto", CPU):
        assert layer(values).dtype == torch.float32
    assert layer(values).dtype == torch.float32


def test_tf32_is_off_meanwhile(monkeypatch):
    monkeypatch.setattr("torch.backends.cudnn.allow_tf32", True)
    with computing("fp32", CPU):
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


def test_on_a_cpu_left_open_changes_no_bit(teachers):
    (one, _), (other, _) = fit(teachers, "auto"), fit(teachers, "fp32")
    for first, second in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert first.equal(second)


def test_the_closed_form_and_the_sums_keep_their_digits(teachers):
    def answers(precision, **options):
        teacher, draws = Consensus(teachers, **options), torch.Generator().manual_seed(0)
        return filled_bank(
            MomentImages(teachers), teacher, 20, draws, CPU, precision=precision
        ).answers

    assert answers("bf16", networks=False).equal(answers("fp32", networks=False))
    low, high = answers("bf16"), answers("fp32")
    assert low.dtype == torch.float32
    assert not low.equal(high)
    torch.testing.assert_close(low, high, atol=0.15, rtol=0.02)


def test_the_student_of_bfloat16_is_close(teachers, images):
    (low, told), (high, wanted) = fit(teachers, "bf16"), fit(teachers, "fp32")
    assert {parameter.dtype for parameter in low.parameters()} == {torch.float32}
    assert not told.equal(wanted)
    torch.testing.assert_close(told, wanted, atol=0.01, rtol=0.1)
    start = build("resnet10-small", channels=3, classes=3, seed=0).eval()
    found, exact, before = (net(images).softmax(dim=1) for net in (low, high, start))
    assert (found - exact).norm() < 0.1 * (before - exact).norm()
