"""The experts' common answer: against plain least squares, and what Bayes' rule promises of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from envoi.errors import MethodError
from envoi.server import consensus
from envoi.server.closed_form import DescriptorClassifier
from envoi.server.consensus import Consensus, consensus_operator
from envoi.server.pooled import pooled_moments
from envoi.server.teacher import Teachers
from tests.conftest import make_teachers
from tests.server.changed import with_members

quick = settings(deadline=None, max_examples=30)
CLASSES = 4
# Three sites that are linked through classes that they share; each lacks one at least.
LINKED = torch.tensor([[40.0, 10, 0, 0], [0, 20, 5, 0], [0, 0, 30, 8]])


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def common(weights, answers):
    """Of answers `(expert, batch, class)`."""
    return torch.einsum("cke,kbe->bc", consensus_operator(weights), answers)


def centred(values):
    return values - values.mean(dim=-1, keepdim=True)


def least_squares(weights, answers):
    """s of the stacked system sqrt(w) (s_c + b_k) = sqrt(w) a_kc, of least norm."""
    experts, classes = weights.shape
    rows, sides = [], []
    for expert in range(experts):
        for label in range(classes):
            row = np.zeros(classes + experts)
            row[label] = row[classes + expert] = root = np.sqrt(weights[expert, label])
            rows.append(row)
            sides.append(root * answers[expert, :, label])
    solution = np.linalg.lstsq(np.stack(rows), np.stack(sides), rcond=None)[0]
    return solution[:classes].T


@st.composite
def linked_weights(draw):
    """Counts of up to five sites, the first with every class, so that all classes are linked."""
    sites = draw(st.integers(1, 5))
    some = st.sampled_from([0, 0, 5, 30, 400])
    rows = draw(st.lists(st.lists(some, min_size=4, max_size=4), min_size=sites, max_size=sites))
    rows[0] = draw(st.lists(st.sampled_from([10, 80, 600]), min_size=4, max_size=4))
    return torch.tensor(rows, dtype=torch.float32)


@quick
@given(weights=linked_weights(), seed=st.integers(0, 2**32))
def test_the_operator_solves_the_stacked_system(weights, seed):
    answers = 3 * normals(len(weights), 5, CLASSES, seed=seed)
    wanted = least_squares(weights.double().numpy(), answers.double().numpy())
    found = centred(common(weights, answers))
    torch.testing.assert_close(
        found, centred(torch.from_numpy(wanted)).float(), atol=1e-2, rtol=1e-3
    )


def test_so_it_does_where_links_go_through_several_sites():
    answers = normals(3, 6, CLASSES, seed=1)
    wanted = least_squares(LINKED.double().numpy(), answers.double().numpy())
    found = centred(common(LINKED, answers))
    torch.testing.assert_close(
        found, centred(torch.from_numpy(wanted)).float(), atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize("offset", [1.0, 1000.0])
def test_experts_that_agree_up_to_their_offsets_give_the_likelihoods_back(offset):
    true = 3 * normals(7, CLASSES, seed=2)
    answers = true + offset * normals(3, 7, 1, seed=3)
    found = centred(common(LINKED, answers))
    torch.testing.assert_close(found, centred(true), atol=2e-3 * offset**0.5, rtol=1e-3)


@quick
@given(weights=linked_weights(), shift=st.sampled_from([1.0, 30.0, 1000.0]))
def test_an_experts_offset_changes_nothing(weights, shift):
    """Not even a little, though rare classes weigh little beside the ridge."""
    answers = normals(len(weights), 3, CLASSES)
    moved = answers + shift * normals(len(weights), 3, 1, seed=1)
    torch.testing.assert_close(
        common(weights, moved), common(weights, answers), atol=2e-5 * shift + 1e-5, rtol=1e-4
    )


def test_more_images_have_more_say():
    answers = torch.zeros(2, 1, 2)
    answers[0, 0, 0], answers[1, 0, 0] = 1.0, -1.0
    for first, wanted in ((10.0, 0.0), (30.0, 0.5), (90.0, 0.8)):
        odds = common(torch.tensor([[first, first], [10.0, 10.0]]), answers)[0]
        assert (odds[0] - odds[1]).item() == pytest.approx(wanted, abs=1e-4)


def test_classes_of_no_expert_answer_as_the_others_on_average():
    weights = torch.tensor([[30.0, 10, 0], [10.0, 30, 0]])
    answers = normals(2, 6, 3) - 500
    found = common(weights, torch.where(weights[:, None] > 0, answers, 0.0))
    torch.testing.assert_close(found[:, 2], found[:, :2].mean(dim=1), atol=1e-4, rtol=1e-4)
    assert consensus_operator(torch.zeros(2, 3)).eq(0).all()


class Says(nn.Module):
    """A network that answers with given logits."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits[: len(images)]


def answer(teachers, logits, images, **options):
    """Of the consensus of these teachers' moments and counts, their networks replaced."""
    module = Consensus(teachers, **options)
    module.networks = nn.ModuleList(Says(own) for own in logits)
    return module(images)


@pytest.mark.parametrize("moments_weight", [0.0, 1.0])
@pytest.mark.parametrize("label", [0, 1])
def test_a_site_has_no_say_on_a_class_that_it_lacks(teachers, images, moments_weight, label):
    """Site 1 lacks class c, site 3 class a: their logits of it may be anything."""
    logits = 2 * normals(3, 12, 3)
    before = answer(teachers, logits, images, moments_weight=moments_weight)
    changed = logits.clone()
    site, lacked = ((0, 2), (2, 0))[label]
    changed[site, :, lacked] += 15 * normals(12, seed=4)
    after = answer(teachers, changed, images, moments_weight=moments_weight)
    torch.testing.assert_close(after, before, atol=2e-4, rtol=1e-4)
    changed[site, :, 1] += 1  # but on another it has
    moved = answer(teachers, changed, images, moments_weight=moments_weight)
    assert (moved - before).abs().max() > 0.05


def test_one_site_with_all_classes_gives_its_own_answer_back(images):
    teachers = make_teachers(((600, 10, 40),), moments=False)
    found = Consensus(teachers, prior_power=1.0)(images).log_softmax(dim=1)
    wanted = teachers.members[0].network(images).log_softmax(dim=1)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def test_under_a_flat_prior_its_own_mix_is_taken_out(images):
    teachers = make_teachers(((600, 10, 40),), moments=False)
    found = Consensus(teachers, prior_power=0.0)(images).log_softmax(dim=1)
    own = teachers.members[0].network(images).log_softmax(dim=1)
    wanted = (own - torch.tensor([600.0, 10, 40]).log()).log_softmax(dim=1)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


DISJOINT = ((40, 0, 0), (0, 30, 0), (0, 0, 20))


def test_disjoint_classes_without_moments_give_the_prior(images):
    """A site of a single class says nothing on how it compares with others."""
    teachers = make_teachers(DISJOINT, moments=False)
    found = Consensus(teachers, prior_power=1.0)(images).softmax(dim=1)
    torch.testing.assert_close(found, (torch.tensor([4.0, 3, 2]) / 9).expand(12, 3))


def test_disjoint_classes_with_moments_are_linked(images):
    teachers = make_teachers(DISJOINT)
    closed = DescriptorClassifier(
        pooled_moments(teachers.moments, teachers.class_counts), teachers.image
    )(images)
    found = Consensus(teachers, prior_power=0.0)(images)
    torch.testing.assert_close(centred(found), centred(closed), atol=1e-2, rtol=1e-3)
    assert found.std(dim=1).min() > 1


def test_networks_may_be_left_out(teachers, images):
    moments = pooled_moments(teachers.moments, teachers.class_counts)
    closed = DescriptorClassifier(moments, teachers.image)(images)
    found = Consensus(teachers, networks=False, prior_power=0.0)(images)
    torch.testing.assert_close(centred(found), centred(closed), atol=1e-2, rtol=1e-3)


def test_moments_may_be_left_out(teachers, images):
    silent = make_teachers(moments=False)
    found = Consensus(teachers, moments_weight=0.0)
    assert found.closed_form is None
    assert found(images).equal(Consensus(silent)(images))
    assert not found(images).equal(Consensus(teachers)(images))


def test_nobody_to_ask_is_refused():
    message = "consensus: expected networks or moments, found neither"
    with pytest.raises(MethodError, match=message):
        Consensus(make_teachers(moments=False), networks=False)
    with pytest.raises(MethodError, match=message):
        Consensus(make_teachers(), networks=False, moments_weight=0.0)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 0, 2), (2, 1, 0)])
def test_the_order_of_sites_does_not_matter(teachers, images, order):
    turned = Teachers(tuple(teachers.members[k] for k in order), teachers.image)
    torch.testing.assert_close(
        Consensus(turned)(images), Consensus(teachers)(images), atol=1e-2, rtol=1e-3
    )


def test_classes_of_no_site_are_never_answered(images):
    for moments in (True, False):
        teachers = make_teachers(((30, 10, 0), (20, 30, 0)), moments=moments)
        odd = torch.cat([images, 30 * images, torch.ones(2, 3, 8, 8), -torch.ones(2, 3, 8, 8)])
        found = Consensus(teachers, prior_power=0.0)(odd)
        assert found.isfinite().all()
        assert (found[:, 2] < found[:, :2].max(dim=1).values - 90).all()


def test_the_prior_is_the_pooled_counts_to_the_power(teachers, images):
    flat, full = (Consensus(teachers, prior_power=power)(images) for power in (0.0, 1.0))
    wanted = torch.tensor([35.0, 40.0, 60.0]).log().expand(12, 3)
    torch.testing.assert_close(full - flat, wanted, atol=1e-3, rtol=1e-3)
    half = Consensus(teachers)(images) - flat
    torch.testing.assert_close(half, consensus.PRIOR_POWER * wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("power", [0.0, 0.3, 1.0])
def test_only_what_training_left_of_the_mix_is_divided_out(images, power):
    """One site: the flat answer is its own, less as much of its mix as it still has."""
    teachers = with_members(make_teachers(((600, 10, 40),), moments=False), mix_power=power)
    found = Consensus(teachers, prior_power=0.0)(images).log_softmax(dim=1)
    own = teachers.members[0].network(images).log_softmax(dim=1)
    wanted = (own - power * torch.tensor([600.0, 10, 40]).log()).log_softmax(dim=1)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def test_answers_are_calibrated_before_anything_else(images):
    teachers = make_teachers(((600, 10, 40),), moments=False)
    warm = with_members(teachers, temperature=2.5)
    found = Consensus(warm, prior_power=1.0)(images).log_softmax(dim=1)
    wanted = (teachers.members[0].network(images) / 2.5).log_softmax(dim=1)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)
