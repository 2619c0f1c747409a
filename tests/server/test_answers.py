"""Temperatures and class mixes in the sites' answers, by hand."""

import numpy as np
import pytest
import torch

from envoi.server.answers import calibrated, log_mix, own_likelihoods, under_own_mix
from tests.conftest import make_teachers
from tests.server.changed import with_members

LOGITS = torch.tensor([[[0.0, 1.0, 2.0]], [[1.0, 1.0, 5.0]]])
COUNTS = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]])


def test_each_site_has_its_own_temperature():
    found = calibrated(LOGITS, torch.tensor([2.0, 0.5]))
    assert found.tolist() == [[[0, 0.5, 1]], [[2, 2, 10]]]
    assert calibrated(LOGITS, torch.ones(2)).equal(LOGITS)


def test_own_likelihoods_are_answers_without_the_sites_mix():
    found = own_likelihoods(LOGITS, COUNTS)
    answers = LOGITS[0, 0].log_softmax(dim=0)
    wanted = [answers[0] - np.log(0.75), answers[1] - np.log(0.25), 0.0]
    torch.testing.assert_close(found[0, 0], torch.tensor(wanted))
    assert not found[1].any()


def test_the_mix_that_training_took_out_can_be_put_back():
    found = under_own_mix(LOGITS, COUNTS, torch.tensor([0.25, 1.0]))
    wanted = [0.75 * np.log(0.75), 1 + 0.75 * np.log(0.25), 2 + 0.75 * np.log(0.25)]
    torch.testing.assert_close(found[0, 0], torch.tensor(wanted, dtype=torch.float32))
    assert found[1].equal(LOGITS[1])


def test_classes_told_as_none_have_one_image():
    wanted = torch.tensor([[0.75, 0.25, 0.25], [1.0, 1.0, 1.0]]).log()
    torch.testing.assert_close(log_mix(COUNTS), wanted)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_a_suppressed_class_does_not_win_where_the_mix_is_put_back(power):
    """Of 1,000 images nine are of a class told as 0; the network answers under the flat mix."""
    mix = torch.tensor([0.991, 0.009])
    answers = (power * mix.log()).expand(1, 1, 2)
    found = under_own_mix(answers, torch.tensor([[1000.0, 0.0]]), torch.tensor([power]))
    assert found.softmax(dim=-1)[0, 0, 1] < 0.01


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_likelihoods_do_not_depend_on_how_much_of_the_mix_was_learned(power):
    """Of a network that knows p(x|c), whatever the prior that it answers under."""
    teachers = with_members(make_teachers(((30, 10, 20),), moments=False), mix_power=power)
    true = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0))
    posterior = (true + power * torch.tensor([30.0, 10, 20]).log()).log_softmax(dim=-1)
    found = own_likelihoods(posterior, teachers.learned_counts)
    offsets = found - true
    torch.testing.assert_close(offsets, offsets[..., :1].expand_as(offsets))
    whole = under_own_mix(posterior, teachers.class_counts, teachers.mix_powers)
    wanted = (true + torch.tensor([30.0, 10, 20]).log()).log_softmax(dim=-1)
    torch.testing.assert_close(whole.log_softmax(dim=-1), wanted)


def test_teachers_tell_what_their_sites_told():
    plain = make_teachers()
    assert plain.learned_counts.equal(plain.class_counts)
    assert plain.temperatures.tolist() == plain.mix_powers.tolist() == [1, 1, 1]
    changed = with_members(plain, mix_power=0.5, temperature=2.0)
    assert changed.learned_counts.equal(plain.class_counts.sqrt())
    flat = with_members(plain, mix_power=0.0)
    assert flat.learned_counts.equal((plain.class_counts > 0).float())
    assert changed.temperatures.tolist() == [2, 2, 2]
    assert changed.mix_powers.tolist() == [0.5, 0.5, 0.5]
