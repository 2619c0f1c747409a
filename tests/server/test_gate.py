"""Prior correction, abstention and the site gate: by hand, and against the true posterior."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from torch import nn

from envoi.errors import MethodError
from envoi.server import closed_form, gate
from envoi.server.answers import own_likelihoods
from envoi.server.gate import LikelihoodEnsemble, SiteGate, abstaining, prior_corrected
from envoi.server.pooled import pooled_moments
from envoi.submission import Moments
from tests.conftest import make_teachers
from tests.server.changed import with_members

RULES = [prior_corrected, abstaining]
# Two sites, two classes: 3:1 at the first, the second alone at the other.
COUNTS = torch.tensor([[30.0, 10.0], [0.0, 20.0]])
LOGITS = torch.tensor([[[0.9, 0.1]], [[0.3, 0.7]]]).log()
LIKELIHOODS = own_likelihoods(LOGITS, COUNTS)


def test_prior_correction_by_hand():
    """a: n share 1, 0.9 / 0.75; b: 1/3 of 0.1 / 0.25 and 2/3 of 0.7 / 1."""
    wanted = torch.tensor([[1.0 * 0.9 / 0.75, 0.1 / 0.25 / 3 + 0.7 / 1 * 2 / 3]]).log()
    torch.testing.assert_close(prior_corrected(LIKELIHOODS, COUNTS, 0.0), wanted)
    # 30 images of each class in all: the same prior whatever its power.
    torch.testing.assert_close(prior_corrected(LIKELIHOODS, COUNTS, 1.0), wanted + np.log(30))


def test_abstention_by_hand():
    """Site 1: log 1.2 and log 0.4 around their mean; site 2, of one class, says nothing."""
    first = np.log([1.2, 0.4])
    around = first - first.mean()
    wanted = torch.tensor([[around[0], around[1] / 3]], dtype=torch.float32)
    torch.testing.assert_close(abstaining(LIKELIHOODS, COUNTS, 0.0), wanted)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("power", [0.0, 0.8, 1.0])
def test_the_prior_is_that_of_the_pooled_counts(rule, power):
    counts = torch.tensor([[30.0, 10.0, 0.0], [5.0, 20.0, 40.0]])
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    likelihoods = own_likelihoods(logits, counts)
    prior = power * torch.tensor([35.0, 30.0, 40.0]).log()
    found = rule(likelihoods, counts, power) - rule(likelihoods, counts, 0.0)
    torch.testing.assert_close(found, prior.expand(4, 3), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_a_single_site_answers_itself_under_its_own_prior(rule):
    logits = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(1))
    counts = torch.tensor([[30.0, 10.0, 5.0]])
    found = rule(own_likelihoods(logits, counts), counts, 1.0)
    torch.testing.assert_close(found.log_softmax(1), logits[0].log_softmax(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_classes_of_no_site_are_ruled_out_and_all_stays_finite(rule):
    logits = 20 * torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(2))
    counts = torch.tensor([[30.0, 10.0, 0.0], [5.0, 0.0, 0.0]])
    found = rule(own_likelihoods(logits, counts), counts)
    assert found.isfinite().all()
    assert (found.softmax(1)[:, 2] < 1e-6).all()


def test_a_site_that_abstains_has_no_say_on_what_it_lacks():
    changed = LOGITS.clone()
    changed[1, :, 0] += 9
    found = abstaining(own_likelihoods(changed, COUNTS), COUNTS)
    torch.testing.assert_close(found, abstaining(LIKELIHOODS, COUNTS))


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_given_calibrated_likelihoods_under_the_mix_that_is_left(rule, images):
    told = {"temperature": 2.0, "mix_power": 0.5}
    teachers = with_members(make_teachers(moments=False), **told)
    counts = teachers.class_counts
    logits = torch.stack([member.network(images) / 2 for member in teachers.members])
    wanted = rule(own_likelihoods(logits, counts.sqrt()), counts)
    torch.testing.assert_close(LikelihoodEnsemble(teachers, rule)(images), wanted)


# The gate, on images that are their own features and sites whose networks know the truth.


class Features:
    """A descriptor that takes images for features."""

    def __init__(self, channels, size_px):
        pass

    def __call__(self, images):
        return images.flatten(1)


CENTRES = np.array([[[2.0, 0.0], [0.0, 2.0], [0, 0]], [[-1.0, 1.0], [1.0, -1.0], [0.5, -2.0]]])
MIXING = np.array([[1.0, 0.3], [0.3, 0.7]])
SITE_COUNTS = ((30, 10, 0), (5, 20, 40))


def truth(points):
    """Log n p(f | site, class) as `(site, point, class)`."""
    told = np.full((2, len(points), 3), -np.inf)
    for site, counts in enumerate(SITE_COUNTS):
        for label, count in enumerate(counts):
            if count:
                gaussian = multivariate_normal(CENTRES[site, label], COVARIANCE)
                told[site, :, label] = np.log(count) + gaussian.logpdf(points)
    return told


class Knowing(nn.Module):
    """A site's network that answers with its own true posterior."""

    def __init__(self, site):
        super().__init__()
        self.site = site

    def forward(self, images):
        joint = truth(images.flatten(1).double().numpy())[self.site]
        posterior = joint - logsumexp(joint, axis=1, keepdims=True)
        return torch.from_numpy(np.maximum(posterior, -1e4)).float()


def gaussian_moments():
    deviations = np.sqrt(MIXING.diagonal())
    correlations = MIXING / np.outer(deviations, deviations)
    return [
        Moments(*(torch.from_numpy(each).float() for each in (means, deviations, correlations)))
        for means in CENTRES
    ]


def gaussian_teachers():
    """Two sites whose images are points of a plane."""
    teachers = make_teachers(SITE_COUNTS, moments=False, channels=1)
    for member, moments in zip(teachers.members, gaussian_moments(), strict=True):
        object.__setattr__(member, "moments", moments)
    return teachers


COVARIANCE = pooled_moments(
    gaussian_moments(), torch.tensor(SITE_COUNTS).float()
).covariance.numpy()


@pytest.fixture
def points():
    drawn = 2 * torch.randn(40, 1, 1, 2, generator=torch.Generator().manual_seed(3))
    return torch.cat([drawn, 20 * drawn[:5]])


def test_the_gate_gives_the_true_posterior(points, monkeypatch):
    """Mixed by the true p(site | x), true answers of sites are that of all images together."""
    monkeypatch.setattr(gate, "Descriptor", Features)
    monkeypatch.setattr(closed_form, "RIDGE", 0.0)
    module = SiteGate(gaussian_teachers())
    module.networks = nn.ModuleList([Knowing(0), Knowing(1)])
    joint = logsumexp(truth(points.flatten(1).double().numpy()), axis=0)
    wanted = torch.from_numpy(joint - logsumexp(joint, axis=1, keepdims=True)).float()
    found = module(points)
    torch.testing.assert_close(found.exp(), wanted.exp(), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(45))


def test_the_gate_follows_the_images_to_their_site(monkeypatch):
    monkeypatch.setattr(gate, "Descriptor", Features)
    teachers = gaussian_teachers()
    module = SiteGate(teachers)

    class Sure(nn.Module):
        def __init__(self, label):
            super().__init__()
            self.label = label

        def forward(self, images):
            return 9 * nn.functional.one_hot(torch.full((len(images),), self.label), 3).float()

    module.networks = nn.ModuleList([Sure(0), Sure(2)])
    first, second = torch.tensor([[4.0, 4.0], [0.0, -6.0]])[:, None, None, None]
    assert module(first).argmax().item() == 0
    assert module(second).argmax().item() == 2


def test_classes_that_a_site_lacks_are_no_place_to_go(monkeypatch):
    """However far an image is from all: a site of one class must not win by its missing ones."""
    monkeypatch.setattr(gate, "Descriptor", Features)
    module = SiteGate(gaussian_teachers())
    far = 1e3 * torch.randn(50, 1, 1, 2, generator=torch.Generator().manual_seed(4))
    told = (far.flatten(1) @ module.weight.T + module.bias).reshape(50, 2, 3)
    assert (told[:, 0, 2] < told.flatten(1).max(dim=1).values - 50).all()
    module.networks = nn.ModuleList([Knowing(0), Knowing(1)])
    assert module(far).isfinite().all()


def test_a_gate_needs_moments_of_every_site():
    teachers = make_teachers()
    object.__setattr__(teachers.members[1], "moments", None)
    message = "site gate: expected moments of every site, found none from site-2"
    with pytest.raises(MethodError, match=message) as caught:
        SiteGate(teachers)
    assert len(caught.value.problems) == 1


def test_with_one_site_the_gate_is_open(images):
    teachers = make_teachers(((30, 10, 5),))
    wanted = teachers.members[0].network(images).log_softmax(dim=1)
    torch.testing.assert_close(SiteGate(teachers)(images), wanted)


@pytest.mark.parametrize(("temperature", "power"), [(1.0, 1.0), (2.0, 1.0), (1.0, 0.0), (4.0, 0.5)])
def test_a_gate_mixes_calibrated_answers_under_the_sites_own_mix(images, temperature, power):
    told = {"temperature": temperature, "mix_power": power}
    teachers = with_members(make_teachers(((30, 10, 5),)), **told)
    mix = torch.tensor([30.0, 10.0, 5.0]).log()
    logits = teachers.members[0].network(images) / temperature + (1 - power) * mix
    torch.testing.assert_close(SiteGate(teachers)(images), logits.log_softmax(dim=1))
