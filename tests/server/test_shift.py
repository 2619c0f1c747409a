"""Hospitals whose images differ: what moments tell of it, and what the consensus makes of it."""

from dataclasses import replace

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
from envoi.server.pooled import pooled_moments, scatter_within
from envoi.server.shift import SiteDiscriminant, shifted_moments
from envoi.site.moments import feature_moments
from envoi.types import ImageSpec
from tests.conftest import make_teachers

quick = settings(deadline=None, max_examples=25)
SPEC = ImageSpec.of(1, 8)
# Two hospitals, three classes on a plane: along the first axis the hospitals are far apart, along
# the second the classes, and the hospitals by half of that. The first lacks the last class.
CLASSES = np.array([[0.0, 2.0], [0.0, -2.0], [0.0, 6.0]])
LOOKS = np.array([[6.0, 2.0], [-6.0, -2.0]])
CENTRES = LOOKS[:, None] + CLASSES
COUNTS = ((300, 100, 0), (50, 200, 400))


def drawn_moments(counts, centres, seed=0):
    """Of as many points as are counted, around the centre of their site and class.

    Features do not vary together; sites say so, which is more than to say nothing.
    """
    generator, moments = np.random.default_rng(seed), []
    for own, middle in zip(counts, centres, strict=True):
        labels = np.repeat(np.arange(len(own)), own)
        points = generator.normal(size=(len(labels), middle.shape[1])) + middle[labels]
        told = feature_moments(
            points.astype(np.float32), labels, classes=len(own), minimum=2, minimum_covariance=20
        )
        told.correlations[[0, 1], [1, 0]] += 1e-6
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
    assert not shifted(counts, centres, seed).differ


def test_the_ratio_is_a_distance_over_that_of_chance():
    """By numpy, where sites have equal mixes: d_k is then the mean offset of their images."""
    counts = ((300, 150, 60), (100, 50, 20))
    moments, sizes = drawn_moments(counts, CENTRES)
    found = shifted_moments(moments, sizes)
    own = [
        (m.correlations * m.deviations[:, None] * m.deviations).double().numpy() for m in moments
    ]
    within = 0.75 * own[0] + 0.25 * own[1]
    ridged = within + RIDGE * np.diag(within.diagonal())
    means = np.stack([m.means.double().numpy() for m in moments])
    gaps = np.einsum("c,cf->f", np.array([30, 15, 6]) / 51, means[0] - means[1])
    for site, (offset, size) in enumerate(((0.25 * gaps, 510), (-0.75 * gaps, 170))):
        distance = offset @ np.linalg.solve(ridged, offset)
        chance = np.trace(np.linalg.solve(ridged, within)) * (1 / size - 1 / 680)
        assert found.ratios[site].item() == pytest.approx(distance / chance, rel=1e-5)
        assert found.ratios[site] > 100


def test_what_classes_differ_by_beside_the_offset_is_measured_against_chance():
    """By numpy, where all sites have equal mixes: residuals of a two-way table."""
    counts, centres = ((300, 300, 300), (300, 300, 300)), CENTRES.copy()
    centres[0, 0] += (0.0, 1.5)
    moments, sizes = drawn_moments(counts, centres)
    found = shifted_moments(moments, sizes)
    means = np.stack([m.means.double().numpy() for m in moments])
    rows, columns = means.mean(axis=1, keepdims=True), means.mean(axis=0, keepdims=True)
    left = means - rows - columns + means.mean(axis=(0, 1))
    within = (scatter_within(moments, sizes.double().sum(dim=1)) / 1800).numpy()
    ridged = within + RIDGE * np.diag(within.diagonal())
    rank = np.trace(np.linalg.solve(ridged, within))
    for site in range(2):
        distance = sum(300 * row @ np.linalg.solve(ridged, row) for row in left[site])
        free = 3 - (1 + 3 / 2 - 1 / 2)  # classes less the leverages of a site's three cells
        ratio = distance / (rank * free)
        assert found.class_ratios[site].item() == pytest.approx(ratio, rel=1e-5)
        assert ratio > 10
        kept = (1 - 2 / ratio) * left[site]
        offset = (1 - 2 / found.ratios[site].item()) * (rows[site] - means.mean(axis=(0, 1)))
        wanted = columns[0] + offset + kept
        np.testing.assert_allclose(found.means[site].numpy(), wanted, rtol=1e-5)


def test_a_disease_that_looks_different_at_one_hospital_is_found_there():
    centres = CENTRES.copy()
    centres[1, 1] += (0.0, -6.0)
    both = ((300, 100, 0), (50, 200, 400))
    found = shifted(both, centres)
    assert found.class_ratios[1] > 10
    torch.testing.assert_close(found.means[1], torch.from_numpy(centres[1]), atol=0.6, rtol=0)
    assert shifted(both, CENTRES).class_ratios.max() < 2


def test_a_site_of_one_class_has_nothing_beside_its_offset():
    found = shifted(((300, 100, 0), (50, 0, 0)))
    torch.testing.assert_close(found.class_ratios, torch.zeros(2).double(), atol=1e-6, rtol=0)


@quick
@given(
    seed=st.integers(0, 2**16),
    counts=st.lists(
        st.lists(st.sampled_from([0, 15, 60, 300]), min_size=3, max_size=3),
        min_size=2,
        max_size=6,
    ),
)
def test_the_fit_leaves_as_many_cells_free_as_it_has_beyond_its_unknowns(seed, counts):
    sizes = torch.tensor(counts).double()
    if not sizes.any():
        return
    means = torch.from_numpy(np.random.default_rng(seed).normal(size=(*sizes.shape, 4)))
    design = [
        [float(c == label) for c in range(3)] + [float(k == site) for k in range(len(counts))]
        for site, own in enumerate(counts)
        for label, count in enumerate(own)
        if count
    ]
    fit = shift._fitted(means, sizes)
    wanted = len(design) - np.linalg.matrix_rank(np.array(design))
    assert fit.free.sum().item() == pytest.approx(wanted, abs=1e-3)
    own, linked = sizes.sum(dim=1), fit.offsets.abs().sum(dim=1) > 1e-12
    torch.testing.assert_close(
        (own[:, None] * fit.offsets)[linked].sum(dim=0) / own.sum(),
        torch.zeros(4).double(),
        atol=1e-6,
        rtol=0,
    )


def test_both_ratios_are_about_one_by_chance_alone():
    """The mean over five sites of unequal counts and over twelve draws of 30 features."""
    counts = [
        [40, 200, 90, 30],
        [300, 20, 60, 80],
        [50, 50, 50, 50],
        [25, 90, 0, 400],
        [0, 70, 35, 60],
    ]
    centres = np.random.default_rng(0).normal(size=(1, 4, 30)).repeat(5, axis=0)
    told = [shifted(counts, centres, seed) for seed in range(12)]
    for ratios in ([one.ratios for one in told], [one.class_ratios for one in told]):
        assert torch.stack(ratios).mean().item() == pytest.approx(1, abs=0.12)


def test_a_site_that_shares_no_class_hides_no_difference_of_the_others():
    counts = ((300, 100, 0), (50, 200, 0), (0, 0, 200))
    centres = np.concatenate([CENTRES, 5 + 0 * CENTRES[:1]])
    found, alone = shifted(counts, centres), shifted(counts[:2], CENTRES)
    torch.testing.assert_close(found.ratios[:2], alone.ratios, rtol=0.1, atol=0)
    assert found.ratios[:2].min() > 100
    assert found.ratios[2] == 0


def test_without_any_correlations_nothing_is_believed():
    """Of features that vary together in ways unknown, chance alone may make any distance."""
    moments, sizes = drawn_moments(COUNTS, CENTRES)
    silent = [replace(site, correlations=torch.eye(2)) for site in moments]
    assert shifted_moments(moments, sizes).differ
    assert not shifted_moments(silent, sizes).differ


@pytest.mark.parametrize(
    ("differences", "of_sites", "of_classes"),
    [("none", False, False), ("sites", True, False), ("classes", True, True)],
)
def test_what_may_differ_is_asked_for(differences, of_sites, of_classes):
    centres = CENTRES.copy()
    centres[1, 1] += (0.0, -6.0)
    teachers = known_teachers(centres=centres)
    found = Consensus(teachers, differences=differences)
    assert (found.shift is not None) == of_sites
    if of_sites:
        moments = shifted_moments(teachers.moments, teachers.class_counts, of_classes=of_classes)
        assert bool(moments.class_ratios.any()) == of_classes
        told = SiteDiscriminant(moments, SPEC)
        torch.testing.assert_close(told.weight, found.shift.weight)


def test_a_difference_of_another_name_is_refused():
    with pytest.raises(ValueError, match="hospitals"):
        Consensus(known_teachers(), differences="hospitals")


def test_a_class_that_a_site_lacks_is_placed_by_its_look():
    found = shifted()
    assert found.differ
    torch.testing.assert_close(found.means, torch.from_numpy(CENTRES), atol=0.5, rtol=0)
    seen_alone = found.means[1, 2] - found.means[0, 2]
    torch.testing.assert_close(seen_alone, found.means[1, 0] - found.means[0, 0])


def test_sites_that_share_no_class_are_not_compared():
    """What is the class and what the hospital, nobody can tell."""
    assert not shifted(((300, 100, 0), (0, 0, 400))).differ


def test_the_covariance_is_about_the_means_that_are_used():
    """Hardly more than the scatter within sites is left; all images together have far more."""
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


def densities(points, means=CENTRES, covariance=None):
    """Log p(f | site, class) as `(site, point, class)`."""
    told = [[multivariate_normal(m, covariance).logpdf(points) for m in own] for own in means]
    return np.array(told).transpose(0, 2, 1)


def points_of(site, count=60, seed=5):
    """Of all classes of a site, also those that it lacks."""
    labels = np.arange(count) % 3
    return np.random.default_rng(seed).normal(size=(count, 2)) + CENTRES[site, labels], labels


def as_images(points):
    return torch.from_numpy(points).float()[:, None, None]


def test_likelihoods_and_local_counts_are_those_of_the_mixture():
    moments = shifted()
    ridged = moments.covariance + RIDGE * moments.covariance.diagonal().diag()
    points = np.concatenate([points_of(0)[0], points_of(1)[0], 3 * np.eye(2)])
    sizes = np.array(COUNTS)
    shares, mix = sizes.sum(axis=1) / 1050, sizes.sum(axis=0) / 1050
    told = densities(points, moments.means.numpy(), ridged.numpy())
    told = told + np.log(shares)[:, None, None]
    local = SiteDiscriminant(moments, SPEC)(as_images(points))
    difference = local.likelihoods.double().numpy() - logsumexp(told, axis=0)
    np.testing.assert_allclose(difference, difference[:, :1].repeat(3, axis=1), atol=1e-3)
    looks = logsumexp(told + np.log(mix), axis=2)
    looks = np.exp(looks - logsumexp(looks, axis=0))
    say = 0.25 + 0.75 * looks / shares[:, None]
    wanted = say.T[..., None] * sizes
    np.testing.assert_allclose(local.counts.numpy(), wanted, atol=0.1, rtol=1e-3)


def test_a_class_of_nobody_has_no_images_anywhere():
    counts = ((300, 100, 0), (50, 200, 0))
    local = SiteDiscriminant(shifted(counts), SPEC)(as_images(points_of(0)[0]))
    assert local.likelihoods.isfinite().all()
    assert not local.counts[..., 2].any()
    assert local.counts[..., :2].all()


class Knowing(nn.Module):
    """A site's network: its own true posterior, which is wrong elsewhere."""

    def __init__(self, site):
        super().__init__()
        self.site, self.moved = site, 0.0

    def forward(self, images):
        counts = np.maximum(np.array(COUNTS[self.site]), 1e-9)
        joint = densities(images.flatten(1).double().numpy())[self.site] + np.log(counts)
        posterior = np.maximum(joint - logsumexp(joint, axis=1, keepdims=True), -1e4)
        return torch.from_numpy(posterior).float() + self.moved * torch.arange(3)


def known_teachers(counts=COUNTS, centres=CENTRES):
    teachers = make_teachers(counts, moments=False, channels=1)
    for member, told in zip(teachers.members, drawn_moments(counts, centres)[0], strict=True):
        object.__setattr__(member, "moments", told)
    return teachers


def consensus(counts=COUNTS, **options):
    found = Consensus(known_teachers(counts), prior_power=1.0, **options)
    found.networks = nn.ModuleList(Knowing(site) for site in range(2))
    return found


@pytest.mark.parametrize("site", [0, 1])
def test_hospitals_of_different_looks_are_told_apart(site):
    """Also on the class that the first lacks."""
    points, labels = points_of(site)
    near = consensus()
    found = near(as_images(points)).argmax(dim=1).numpy()
    assert (found == labels).mean() > 0.93
    near.shift = None
    alike = near(as_images(points)).argmax(dim=1).numpy()
    assert (found == labels).mean() > (alike == labels).mean() + 0.03


def test_a_network_has_more_say_on_images_of_its_own_hospital():
    near, images = consensus(networks=True), as_images(points_of(0)[0])
    before, moves = near(images), []
    for site in range(2):
        near.networks[site].moved = 0.1
        moves.append((near(images) - before).abs().max().item())
        near.networks[site].moved = 0.0
    near.shift = None
    before, alike = near(images), []
    for site in range(2):
        near.networks[site].moved = 0.1
        alike.append((near(images) - before).abs().max().item())
        near.networks[site].moved = 0.0
    assert moves[0] / moves[1] > 3 * alike[0] / alike[1]


@pytest.mark.parametrize("options", [{"networks": False}, {"moments_weight": 0.3}])
def test_experts_can_be_left_out_or_weighed(options):
    near, images = consensus(**options), as_images(points_of(1)[0])
    closed = near.shift(images).likelihoods
    gap = near(images) - near.prior - closed
    spread = (gap - gap.mean(dim=1, keepdim=True)).abs().max()
    assert (spread < 1e-2) == (options == {"networks": False})


def test_classes_of_no_site_are_never_answered():
    near = consensus(((300, 100, 0), (50, 200, 0)))
    found = near(as_images(np.concatenate([points_of(0)[0], 100 * points_of(1)[0]])))
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
