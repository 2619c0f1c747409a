"""Ways to combine the answers of several sites, as properties, and where teachers come from."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.server.teacher import (
    WEIGHTINGS,
    Ensemble,
    Teachers,
    class_count_weighted,
    mean_logits,
    mean_probabilities,
    site_logits,
    size_weighted,
)
from envoi.study import study_from
from envoi.submission import (
    Release,
    TrainingCard,
    generate_key,
    open_submission,
    public_text,
    write_submission,
)
from tests.conftest import make_teachers

quick = settings(deadline=None, max_examples=30)

PROBABILITY_WEIGHTINGS = [mean_probabilities, size_weighted, class_count_weighted]
EVERY_WEIGHTING = list(WEIGHTINGS.values())
CLASSES = 4
ONE_TO_FIVE = st.integers(1, 5)


@st.composite
def answers(draw, sites=ONE_TO_FIVE):
    """Logits of some sites on three images, and their counts (zeros are likely)."""
    number = draw(sites)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0.1, 1.0, 5.0]))
    logits = spread * torch.randn(number, 3, CLASSES, generator=generator)
    count = st.sampled_from([0, 0, 1, 7, 30, 5000])
    rows = st.lists(count, min_size=CLASSES, max_size=CLASSES)
    counts = draw(st.lists(rows, min_size=number, max_size=number))
    return logits, torch.tensor(counts, dtype=torch.float32)


def probabilities(logits):
    return logits.softmax(dim=-1)


def test_every_weighting_has_a_name():
    assert set(EVERY_WEIGHTING) == {mean_logits, *PROBABILITY_WEIGHTINGS}


@pytest.mark.parametrize("weighting", EVERY_WEIGHTING)
@quick
@given(given_answers=answers())
def test_equal_teachers_answer_as_one_of_them(weighting, given_answers):
    logits, counts = given_answers
    alike = logits[:1].expand(len(counts), -1, -1)
    combined = weighting(alike, counts)
    torch.testing.assert_close(probabilities(combined), probabilities(logits[0]))


@pytest.mark.parametrize("weighting", EVERY_WEIGHTING)
@quick
@given(given_answers=answers(st.just(1)))
def test_one_site_is_that_site(weighting, given_answers):
    logits, counts = given_answers
    torch.testing.assert_close(probabilities(weighting(logits, counts)), probabilities(logits[0]))


@pytest.mark.parametrize("weighting", PROBABILITY_WEIGHTINGS)
@quick
@given(given_answers=answers())
def test_answers_are_logarithms_of_probabilities(weighting, given_answers):
    combined = weighting(*given_answers)
    torch.testing.assert_close(combined.exp().sum(dim=-1), torch.ones(3))


@pytest.mark.parametrize("weighting", PROBABILITY_WEIGHTINGS)
def test_sites_that_are_sure_of_themselves_give_finite_answers_and_gradients(weighting):
    logits = torch.tensor([[[300.0, 0.0, -300.0]], [[200.0, 0.0, -500.0]]], requires_grad=True)
    combined = weighting(logits, torch.tensor([[3.0, 0.0, 1.0], [0.0, 2.0, 5.0]]))
    assert combined.isfinite().all()
    (gradient,) = torch.autograd.grad(combined.sum(), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("weighting", EVERY_WEIGHTING)
@quick
@given(given_answers=answers(st.integers(2, 4)), data=st.data())
def test_the_order_of_sites_does_not_matter(weighting, given_answers, data):
    logits, counts = given_answers
    order = data.draw(st.permutations(range(len(logits))))
    torch.testing.assert_close(weighting(logits[order], counts[order]), weighting(logits, counts))


@pytest.mark.parametrize("weighting", [size_weighted, class_count_weighted])
@quick
@given(given_answers=answers())
def test_without_any_count_every_site_has_the_same_say(weighting, given_answers):
    logits, counts = given_answers
    wanted = mean_probabilities(logits, counts)
    torch.testing.assert_close(weighting(logits, torch.zeros_like(counts)), wanted)


@pytest.mark.parametrize("weighting", [size_weighted, class_count_weighted])
@quick
@given(given_answers=answers(), factor=st.sampled_from([2, 10, 1000]))
def test_only_ratios_of_counts_matter(weighting, given_answers, factor):
    logits, counts = given_answers
    torch.testing.assert_close(weighting(logits, factor * counts), weighting(logits, counts))


@quick
@given(answers())
def test_plain_means_do_not_read_counts(given_answers):
    logits, counts = given_answers
    assert mean_logits(logits, counts).equal(logits.mean(dim=0))
    wanted = probabilities(logits).mean(dim=0)
    torch.testing.assert_close(mean_probabilities(logits, counts).exp(), wanted)


@quick
@given(answers())
def test_sizes_weigh_probabilities(given_answers):
    logits, counts = given_answers
    sizes = counts.sum(dim=1).double()
    shares = sizes / sizes.sum() if sizes.sum() else torch.full_like(sizes, 1 / len(sizes))
    wanted = torch.einsum("s,sbc->bc", shares.float(), probabilities(logits))
    torch.testing.assert_close(size_weighted(logits, counts).exp(), wanted)


@quick
@given(answers())
def test_class_counts_weigh_each_class(given_answers):
    """sum_k n_k(c) / N(c) p_k(c|x), normalised; equal shares of a class that nobody has."""
    logits, counts = given_answers
    wanted = torch.zeros(3, CLASSES)
    for label in range(CLASSES):
        total = counts[:, label].sum()
        for site in range(len(counts)):
            share = counts[site, label] / total if total else 1 / len(counts)
            wanted[:, label] += share * probabilities(logits)[site, :, label]
    wanted /= wanted.sum(dim=1, keepdim=True)
    torch.testing.assert_close(class_count_weighted(logits, counts).exp(), wanted)


def test_a_site_without_images_of_a_class_does_not_vote_against_it():
    logits = torch.tensor([[[0.0, 0.0]], [[9.0, -9.0]]])
    counts = torch.tensor([[5.0, 5.0], [5.0, 0.0]])
    assert class_count_weighted(logits, counts).exp()[0, 1] > 0.39
    assert mean_probabilities(logits, counts).exp()[0, 1] < 0.26


def test_an_ensemble_is_its_weighting_of_its_networks(teachers, images):
    for weighting in EVERY_WEIGHTING:
        ensemble = Ensemble(teachers, weighting)
        networks = [member.network for member in teachers.members]
        logits = torch.stack([network(images) for network in networks])
        assert site_logits(networks, images).equal(logits)
        assert ensemble(images).equal(weighting(logits, teachers.class_counts))
        assert not ensemble.training


def test_teachers_are_frozen_and_tell_their_counts():
    teachers = make_teachers()
    networks = [member.network for member in teachers.members]
    assert not any(network.training for network in networks)
    assert not any(p.requires_grad for network in networks for p in network.parameters())
    assert teachers.class_counts.tolist() == [[30, 10, 0], [5, 20, 20], [0, 10, 40]]
    assert teachers.class_names == ("a", "b", "c")


@pytest.fixture(scope="module")
def study_and_submissions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inbox")
    keys = {site: generate_key() for site in ("north", "south", "west")}
    study = study_from(
        {
            "name": "Cells",
            "classes": ["a", "b", "c"],
            "image": {"channels": 3, "size_px": 8},
            "model": {"architectures": ["resnet10-small", "wrn-16-2"]},
            "sites": {site: public_text(key) for site, key in keys.items()},
        }
    )
    architectures = ["wrn-16-2", "resnet10-small", "resnet10-small"]
    opened = []
    for number, (site, name) in enumerate(zip(keys, architectures, strict=True)):
        network = study.network(name)
        with torch.no_grad():
            network.fc.bias += number
        state = {key: t for key, t in network.state_dict().items() if t.dim()}
        card = TrainingCard(epochs=1, images=60)
        release = Release(name, state, (20 + number, 40 - number, 3), card)
        path = folder / site
        write_submission(path, release, study=study, site=site, sequence=1, key=keys[site])
        opened.append(open_submission(path, study=study))
    return study, opened


def test_teachers_are_what_the_sites_sent(study_and_submissions, images):
    study, submissions = study_and_submissions
    teachers = Teachers.from_submissions(submissions, study)
    assert [member.site for member in teachers.members] == ["north", "south", "west"]
    names = [member.architecture for member in teachers.members]
    assert names == ["wrn-16-2", "resnet10-small", "resnet10-small"]
    assert teachers.image == study.image
    # Three images are under the policy's minimum and were told as none.
    assert teachers.class_counts.tolist() == [[20, 40, 0], [21, 39, 0], [22, 38, 0]]
    sent = study.network("resnet10-small").eval()
    torch.testing.assert_close(teachers.members[2].network(images), sent(images) + 2)


def test_the_order_of_arrival_changes_no_bit(study_and_submissions, images):
    study, submissions = study_and_submissions
    wanted = Teachers.from_submissions(submissions, study)
    for order in itertools.permutations(submissions):
        teachers = Teachers.from_submissions(order, study)
        assert teachers.class_counts.equal(wanted.class_counts)
        answer = Ensemble(teachers, size_weighted)(images)
        assert answer.equal(Ensemble(wanted, size_weighted)(images))
