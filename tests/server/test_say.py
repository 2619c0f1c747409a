"""Whose answer on a class the teacher takes."""

import pytest
import torch

from envoi.results import CLOSED_FORM
from envoi.server.consensus import Consensus, consensus_operator
from envoi.server.say import say_shares, says_of
from envoi.server.teacher import Ensemble, mean_logits
from tests.conftest import make_teachers

SITES = ("site-1", "site-2", "site-3")


def test_the_shares_of_a_class_sum_to_one():
    says = says_of(Consensus(make_teachers()), SITES)
    assert [say.expert for say in says] == [*SITES, CLOSED_FORM]
    assert [sum(column) for column in zip(*(s.shares for s in says), strict=True)] == (
        pytest.approx([1, 1, 1], abs=1e-4)
    )


def test_a_site_has_no_say_on_a_class_that_it_never_saw():
    first, _, third, _ = says_of(Consensus(make_teachers()), SITES)
    assert first.shares[2] == third.shares[0] == 0
    assert min(first.shares[:2]) > 0.01


def test_without_moments_the_networks_share_all():
    says = says_of(Consensus(make_teachers(moments=False)), SITES)
    assert [say.expert for say in says] == list(SITES)
    # Only the first two sites know class a.
    assert says[0].shares[0] + says[1].shares[0] == pytest.approx(1, abs=1e-4)


def test_equal_sites_have_an_equal_say():
    says = says_of(Consensus(make_teachers(((20, 20, 20),) * 2, moments=False)), SITES[:2])
    assert [say.shares for say in says] == [pytest.approx((0.5,) * 3, abs=1e-4)] * 2


def test_a_network_of_one_class_has_no_say():
    """It cannot tell how its class compares with others: the closed form alone answers."""
    *networks, closed = says_of(
        Consensus(make_teachers(((40, 0, 0), (0, 30, 0), (0, 0, 20)))), SITES
    )
    assert all(max(say.shares) < 0.01 for say in networks)
    assert closed.shares == pytest.approx((1, 1, 1), abs=0.01)


def test_on_a_class_of_no_site_nobody_has_a_say():
    says = says_of(Consensus(make_teachers(((30, 10, 0), (20, 30, 0)))), SITES[:2])
    assert all(say.shares[2] == 0 for say in says)


def test_the_say_is_the_effect_of_an_answer_on_the_teachers():
    """One expert's answer on a class is raised; the teacher's answer on it follows by that much."""
    weights = torch.tensor([[30.0, 10, 0], [5, 20, 20], [35, 30, 20]])
    operator = consensus_operator(weights)
    answers = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    moved = torch.zeros(3, 3)
    for expert in range(3):
        for label in range(3):
            raised = answers.clone()
            raised[expert, label] += 1
            change = torch.einsum("cke,ke->c", operator, raised - answers)
            moved[expert, label] = change[label].abs()
    torch.testing.assert_close(say_shares(operator), moved / moved.sum(dim=0), atol=1e-4, rtol=0)


def test_other_teachers_do_not_tell():
    assert says_of(Ensemble(make_teachers(), mean_logits), SITES) == ()


def test_where_hospitals_look_different_the_say_is_the_mean_over_their_looks():
    teacher = Consensus(make_teachers())
    shares = teacher.prior.new_tensor([0.5, 0.25, 0.25])
    counts = torch.tensor([[30.0, 10, 0], [5, 20, 20], [0, 10, 40]])

    class Looks:
        def __init__(self):
            self.shares = shares

        def counts_by_look(self):
            return counts * (0.25 + 0.75 * torch.eye(3) / shares)[..., None]

    alike = says_of(teacher, SITES)
    teacher.__dict__["shift"] = Looks()
    differ = says_of(teacher, SITES)
    assert [say.expert for say in differ] == [*SITES, CLOSED_FORM]
    for column in zip(*(say.shares for say in differ), strict=True):
        assert sum(column) == pytest.approx(1, abs=1e-4)
    assert differ[0].shares != pytest.approx(alike[0].shares, abs=1e-3)
    assert differ[0].shares[2] == 0
