"""What a network is told of a person, and how often it is not."""

import pytest
import torch

from envoi.mri.conditions import ConditionEmbedding, hidden


def test_unknown_is_not_zero():
    embedding = ConditionEmbedding(2, 16)
    zero, unknown = (embedding(torch.tensor([[value, 0.5]])) for value in (0.0, torch.nan))
    assert not torch.allclose(zero, unknown)
    assert unknown.isfinite().all()


def test_both_values_are_hidden_from_a_fifth_and_each_from_a_tenth_of_the_others(generator):
    missing = hidden(torch.zeros(20_000, 2), generator).isnan().float()
    assert float(missing.mean()) == pytest.approx(0.2 + 0.8 * 0.1, abs=0.01)
    assert float(missing.prod(dim=1).mean()) == pytest.approx(0.2 + 0.8 * 0.01, abs=0.01)


def test_what_is_known_stays(generator):
    persons = torch.randn(100, 2, generator=generator)
    told = hidden(persons, generator)
    assert torch.equal(told[~told.isnan()], persons[~told.isnan()])
