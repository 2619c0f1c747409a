"""Hospitals whose images differ: what moments tell of it, and what the consensus makes of it."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from torch import nn

from envoi.server import closed_form, shift
from envoi.server.closed_form import RIDGE
from envoi.server.consensus import Consensus, consensus_operator
from envoi.server.pooled import pooled_moments
from envoi.server.shift import SiteDiscriminant, shifted_moments
from envoi.site.moments import feature_moments
from envoi.types import ImageSpec
from tests.conftest import make_teachers

quick = settings(deadline=None, max_examples=25)
SPEC = ImageSpec.of(1, 8)
# Two hospitals, three classes on a plane. Along the first axis the hospitals are far apart, along
# the second the classes stand in opposite order; the first hospital lacks the last class.
CENTRES = np.array([[[6.0, 1.5], [6.0, -1.5], [0, 0]], [[-6.0, -1.5], [-6.0, 1.5], [-6.0, 4.0]]])
COUNTS = ((300, 100, 0), (50, 200, 400))


def drawn_moments(counts, centres, seed=0):
    """Of as many points as are counted, around the centre of their site and class."""
    generator, moments = np.random.default_rng(seed), []
    for own, middle in zip(counts, centres, strict=True):
        labels = np.repeat(np.arange(len(own)), own)
        points = generator.normal(size=(len(labels), middle.shape[1])) + middle[labels]
        told = feature_moments(
            points.astype(np.float32), labels, classes=len(own), minimum=2, minimum_covariance=20
        )
        moments.append(told)
    return moments, torch.tensor(counts, dtype=torch.float32)


def shifted(counts=COUNTS, centres=CENTRES, seed=0):
    return shifted_moments(*drawn_moments(counts, centres, seed))


@quick
@given(
    seed=st.integers(0, 2**16),
    counts=st.lists(
        st.lists(st.sampled_from([0, 15, 60, 300]), min_size=3, max_size=3),
        min_size=2,
        max_size=5,
    ),
)
def test_label_skew_alone_is_no_difference_between_sites(seed, counts):
    counts = [own if sum(own) else [60, 0, 0] for own in counts]
    centres = np.random.default_rng(seed).normal(size=(1, 3, 60)).repeat(len(counts), axis=0)
    moments, sizes = drawn_moments(counts, centres, seed)
    found, pooled = shifted_moments(moments, sizes), pooled_moments(moments, sizes)
    assert not found.differ
    known = (sizes > 0)[..., None]
    wanted = torch.where(known, pooled.means, 0.0)
    torch.testing.assert_close(torch.where(known, found.means, 0.0), wanted)
    torch.testing.assert_close(found.covariance, pooled.covariance)


def test_offsets_are_kept_as_far_as_chance_does_not_explain_them():
    """D is a Mahalanobis distance, E that of chance: by numpy, for a class that both sites have."""
    moments, sizes = drawn_moments(COUNTS, CENTRES)
    found = shifted_moments(moments, sizes)
    weights = sizes.sum(dim=1).double().numpy()
    own = [
        (m.correlations * m.deviations[:, None] * m.deviations).double().numpy() for m in moments
    ]
    within = np.einsum("k,kfg->fg", weights / weights.sum(), np.stack(own))
    ridged = within + RIDGE * np.diag(within.diagonal())
    means = np.stack([m.means[0].double().numpy() for m in moments])
    pooled = (300 * means[0] + 50 * means[1]) / 350
    for site, count in enumerate((300, 50)):
        offset = means[site] - pooled
        distance = offset @ np.linalg.solve(ridged, offset)
        chance = np.trace(np.linalg.solve(ridged, within)) * (1 / count - 1 / 350)
        kept = 1 - 2 * chance / distance
        assert kept > 0.9
        assert found.ratios[site, 0].item() == pytest.approx(distance / chance, rel=1e-6)
        torch.testing.assert_close(
            found.means[site, 0], torch.from_numpy(pooled + kept * offset), atol=1e-5, rtol=1e-5
        )


def test_a_class_of_one_site_has_the_mean_it_has():
    found = shifted()
    assert found.differ
    assert not found.ratios[:, 2].any()
    moments, _ = drawn_moments(COUNTS, CENTRES)
    torch.testing.assert_close(found.means[1, 2], moments[1].means[2].double())


def test_the_covariance_is_about_the_means_that_are_used():
    """Where offsets are kept whole, hardly more than the scatter within sites is left."""
    found = shifted()
    torch.testing.assert_close(found.covariance, torch.eye(2).double(), atol=0.15, rtol=0)
    pooled = pooled_moments(*drawn_moments(COUNTS, CENTRES)).covariance
    assert pooled[0, 0] > 5 * found.covariance[0, 0]


# Images that are their own features, and networks that know the truth of their own site.


class Features:
    """A descriptor that takes images for features."""

    def __init__(self, channels, size_px):
        pass

    def __call__(self, images):
        return images.flatten(1)


@pytest.fixture(autouse=True)
def plane(monkeypatch):
    for module in (shift, closed_form):
        monkeypatch.setattr(module, "Descriptor", Features)


def truth(points, means=CENTRES, covariance=None):
    """Log n p(f | site, class) as `(site, point, class)`."""
    told = np.full((2, len(points), 3), -np.inf)
    for site, counts in enumerate(COUNTS):
        for label, count in enumerate(counts):
            if count:
                gaussian = multivariate_normal(means[site, label], covariance)
                told[site, :, label] = np.log(count) + gaussian.logpdf(points)
    return told


def points_of(site, count=60, seed=5):
    drawn = np.random.default_rng(seed).normal(size=(count, 2))
    return drawn + CENTRES[site, 1] + [0.0, 0.5]


def as_images(points):
    return torch.from_numpy(points).float()[:, None, None]


def test_likelihoods_and_local_counts_are_those_of_the_mixture():
    moments = shifted()
    ridged = moments.covariance + RIDGE * moments.covariance.diagonal().diag()
    points = np.concatenate([points_of(0), points_of(1), 3 * np.eye(2)])
    joint = truth(points, moments.means.numpy(), ridged.numpy())
    local = SiteDiscriminant(moments, SPEC)(as_images(points))
    totals = np.sum(COUNTS, axis=0)
    wanted = logsumexp(joint, axis=0) - np.log(totals)
    difference = local.likelihoods.double().numpy() - wanted
    np.testing.assert_allclose(difference, difference[:, :1].repeat(3, axis=1), atol=1e-3)
    posterior = np.exp(joint - logsumexp(joint, axis=0))
    np.testing.assert_allclose(
        local.counts.numpy(), (totals * posterior).transpose(1, 0, 2), atol=0.05
    )


def test_a_class_of_nobody_has_no_images_anywhere():
    counts = ((300, 100, 0), (50, 200, 0))
    local = SiteDiscriminant(shifted(counts), SPEC)(as_images(points_of(0)))
    assert local.likelihoods.isfinite().all()
    assert not local.counts[..., 2].any()
    torch.testing.assert_close(local.counts.sum(dim=1)[0], torch.tensor([350.0, 300, 0]))


class Knowing(nn.Module):
    """A site's network that answers with the true posterior of its own site."""

    def __init__(self, site):
        super().__init__()
        self.site, self.moved = site, 0.0

    def forward(self, images):
        joint = truth(images.flatten(1).double().numpy())[self.site]
        posterior = np.maximum(joint - logsumexp(joint, axis=1, keepdims=True), -1e4)
        return torch.from_numpy(posterior).float() + self.moved * torch.arange(3)


def consensus(counts=COUNTS, **options):
    teachers = make_teachers(counts, moments=False, channels=1)
    for member, told in zip(teachers.members, drawn_moments(counts, CENTRES)[0], strict=True):
        object.__setattr__(member, "moments", told)
    found = Consensus(teachers, prior_power=1.0, **options)
    found.networks = nn.ModuleList(Knowing(site) for site in range(2))
    return found


@pytest.mark.parametrize("site", [0, 1])
def test_hospitals_that_contradict_one_another_are_told_apart(site):
    """The same look means another class at the other: one common answer cannot be right."""
    points = points_of(site)
    wanted = logsumexp(truth(points), axis=0).argmax(axis=1)
    near = consensus()
    found = near(as_images(points)).argmax(dim=1).numpy()
    assert (found == wanted).mean() > 0.93
    near.shift = None
    alike = near(as_images(points)).argmax(dim=1).numpy()
    assert (alike == wanted).mean() < 0.9


def test_a_network_has_no_say_on_images_of_the_other_hospital():
    near, images = consensus(), as_images(points_of(0))
    before = near(images)
    near.networks[1].moved = 5.0
    torch.testing.assert_close(near(images), before, atol=1e-3, rtol=1e-3)
    near.networks[0].moved = 5.0
    assert (near(images) - before).abs().max() > 1


@pytest.mark.parametrize("options", [{"networks": False}, {"moments_weight": 0.3}])
def test_experts_can_be_left_out_or_weighed(options):
    near, images = consensus(**options), as_images(points_of(1))
    closed = near.shift(images).likelihoods
    gap = near(images) - near.prior - closed
    spread = (gap - gap.mean(dim=1, keepdim=True)).abs().max()
    assert (spread < 1e-2) == (options == {"networks": False})


def test_classes_of_no_site_are_never_answered():
    near = consensus(((300, 100, 0), (50, 200, 0)))
    found = near(as_images(np.concatenate([points_of(0), 100 * points_of(1)])))
    assert near.shift is not None
    assert found.isfinite().all()
    assert (found.softmax(1)[:, 2] < 1e-6).all()


def test_sites_that_do_not_differ_are_asked_as_before(teachers):
    assert Consensus(teachers).shift is None


def test_operators_of_several_images_are_those_of_each():
    weights = torch.rand(6, 4, 3, generator=torch.Generator().manual_seed(0))
    weights[:, 1, 2] = weights[2] = 0
    together = consensus_operator(weights)
    for one, own in zip(weights, together, strict=True):
        torch.testing.assert_close(own, consensus_operator(one), atol=1e-5, rtol=1e-5)
