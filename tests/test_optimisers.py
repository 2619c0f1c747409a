"""Muon for matrices, AdamW for the rest."""

import pytest
import torch
from torch import nn

from envoi.optimisers import Muon, Optimisers, orthogonalised


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_singular_values_become_about_one(shape, generator):
    matrix = torch.randn(shape, generator=generator)
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_directions_stay(generator):
    matrix = torch.randn(12, 40, generator=generator)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ orthogonalised(matrix) @ right.T
    away = inner - torch.diag(inner.diagonal())
    assert away.abs().max() < 1e-4
    assert (inner.diagonal() > 0).all()


def test_nothing_stays_nothing():
    assert not orthogonalised(torch.zeros(8, 9)).any()


def test_a_step_is_of_adams_size(generator):
    """Root mean square 0.2 of the rate, whatever the gradient's size."""
    weight = nn.Parameter(torch.zeros(32, 8, 3, 3))
    weight.grad = 1e-4 * torch.randn(weight.shape, generator=generator)
    Muon([weight], 0.01).step()
    assert weight.square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.2)
    assert (weight * weight.grad).sum() < 0


def test_momentum_carries_on_where_gradients_stop(generator):
    weight = nn.Parameter(torch.zeros(8, 8))
    optimiser = Muon([weight], 0.01)
    weight.grad = torch.randn(8, 8, generator=generator)
    optimiser.step()
    before = weight.detach().clone()
    weight.grad = torch.zeros(8, 8)
    optimiser.step()
    assert not torch.equal(weight, before)


def test_it_learns_rare_directions_as_fast_as_common_ones():
    """A linear map whose inputs differ tenfold in size, learned in a hundred steps."""
    sizes = torch.logspace(0, -1, 8)
    wanted = torch.eye(8)
    weight = nn.Parameter(torch.zeros(8, 8))
    optimiser = Muon([weight], 0.1)
    for step in range(100):
        optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 100)
        optimiser.zero_grad()
        ((weight - wanted) * sizes).square().sum().backward()
        optimiser.step()
    assert (weight - wanted).abs().max() < 0.2


def test_matrices_go_to_muon_and_all_else_to_adam():
    model = nn.ModuleDict(
        {
            "wide": nn.Conv3d(8, 16, 3),
            "narrow": nn.Conv3d(8, 4, 3),
            "norm": nn.GroupNorm(8, 16),
        }
    )
    adam, muon = Optimisers(model, 1e-3, 2e-3).members
    taken = muon.param_groups[0]["params"]
    assert [id(weight) for weight in taken] == [id(model["wide"].weight)]
    together = len(adam.param_groups[0]["params"]) + len(taken)
    assert together == len(list(model.parameters()))
    assert (adam.defaults["lr"], muon.defaults["lr"]) == (1e-3, 2e-3)


def test_without_a_rate_for_matrices_adam_learns_all():
    model = nn.Linear(16, 16)
    (adam,) = Optimisers(model, 1e-3, 0.0).members
    assert isinstance(adam, torch.optim.AdamW)
    assert len(adam.param_groups[0]["params"]) == 2


def test_a_step_takes_its_share_of_both_rates_and_goes_on_where_it_was():
    def walked(optimisers, model, shares):
        for share in shares:
            optimisers.zero_grad()
            model(torch.ones(1, 8)).square().sum().backward()
            optimisers.step(share)
        return [weight.detach().clone() for weight in model.parameters()]

    def begun():
        torch.manual_seed(0)
        model = nn.Linear(8, 8)
        return Optimisers(model, 1e-3, 2e-3), model

    optimisers, model = begun()
    start = walked(optimisers, model, ())
    assert not any(map(torch.equal, start, walked(optimisers, model, [0.5])))
    assert [o.param_groups[0]["lr"] for o in optimisers.members] == [5e-4, 1e-3]
    state = {name: value.clone() for name, value in optimisers.state().items()}
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    wanted = walked(optimisers, model, [1.0, 0.2])
    again, other = begun()
    other.load_state_dict(weights)
    again.restore(state)
    assert all(map(torch.equal, wanted, walked(again, other, [1.0, 0.2])))
    still = walked(again, other, ())
    assert all(map(torch.equal, still, walked(again, other, [0.0])))
    with pytest.raises(KeyError, match="optimiser-1"):
        again.restore({name: value for name, value in state.items() if "-0/" in name})
