"""Pooled moments: exactly those of all images together, however these are spread over sites."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.server.pooled import pooled_moments, site_covariances
from envoi.submission import Moments

CLASSES, FEATURES = 4, 5


def sample(seed, count=60):
    """Correlated features on several scales, and labels of which some classes are rare."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, count, p=[0.6, 0.25, 0.1, 0.05])
    mixing = rng.normal(size=(FEATURES, FEATURES))
    values = rng.normal(size=(count, FEATURES)) @ mixing + 2 * labels[:, None]
    return values * np.logspace(-2, 2, FEATURES), labels


def exact(values, labels):
    """Counts, means and covariance within classes, by plain NumPy."""
    counts = np.bincount(labels, minlength=CLASSES)
    means = np.zeros((CLASSES, FEATURES))
    for label in np.flatnonzero(counts):
        means[label] = values[labels == label].mean(axis=0)
    centred = values - means[labels]
    return counts, means, centred.T @ centred / max(len(values), 1)


def told(values, labels):
    """What a site would say: unshrunk and unrounded, so that the sum has to be exact."""
    counts, means, covariance = exact(values, labels)
    deviations = np.sqrt(covariance.diagonal())
    scale = np.where(deviations > 0, deviations, 1)
    correlations = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlations, 1)
    return Moments(*map(torch.from_numpy, (means, deviations, correlations))), counts


def pool(sites):
    moments, counts = zip(*sites, strict=True)
    return pooled_moments(moments, torch.tensor(np.array(counts), dtype=torch.float32))


def assert_exact(found, values, labels):
    counts, means, covariance = exact(values, labels)
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_allclose(found.means, means, rtol=1e-9, atol=1e-9)
    scale = np.sqrt(np.outer(covariance.diagonal(), covariance.diagonal()))
    np.testing.assert_allclose(found.covariance.numpy() / scale, covariance / scale, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), sites=st.integers(1, 7))
def test_any_split_has_the_moments_of_all_images_together(seed, sites):
    values, labels = sample(seed)
    owner = np.random.default_rng(seed + 1).integers(0, sites, len(labels))
    parts = [told(values[owner == site], labels[owner == site]) for site in range(sites)]
    assert_exact(pool(parts), values, labels)


def test_sites_of_one_class_each_have_them_too():
    values, labels = sample(3)
    parts = [told(values[labels == label], labels[labels == label]) for label in range(CLASSES)]
    assert_exact(pool(parts), values, labels)


def test_a_site_is_added_and_taken_out_by_algebra():
    """From sums alone: what is left is what the others' images give, without asking them."""
    values, labels = sample(4, 90)
    owner = np.arange(90) % 3
    parts = [told(values[owner == site], labels[owner == site]) for site in range(3)]
    whole, leaving = pool(parts), parts[2]
    own = torch.tensor(leaving[1])
    counts = whole.counts - own
    sums = whole.counts[:, None] * whole.means - own[:, None] * leaving[0].means
    means = sums / counts.clamp_min(1)[:, None]

    def second(moments):
        """The sum of f f^T."""
        outer = torch.einsum("c,cf,cg->fg", moments.counts, moments.means, moments.means)
        return moments.counts.sum() * moments.covariance + outer

    seconds = second(whole) - second(pool([leaving]))
    scatter = seconds - torch.einsum("c,cf,cg->fg", counts, means, means)
    rest = pool(parts[:2])
    torch.testing.assert_close(rest.means, means)
    torch.testing.assert_close(rest.covariance, scatter / counts.sum())
    assert_exact(rest, values[owner != 2], labels[owner != 2])


def without_correlations(site):
    moments, counts = site
    return Moments(moments.means, moments.deviations, torch.eye(FEATURES)), counts


def test_a_site_without_correlations_has_its_deviations_and_the_others_correlations():
    values, labels = sample(5, 90)
    owner = np.arange(90) % 3
    values[owner == 2] *= 3
    parts = [told(values[owner == site], labels[owner == site]) for site in range(3)]
    silent = without_correlations(parts[2])
    assert not silent[0].has_correlations
    moments = [parts[0][0], parts[1][0], silent[0]]
    *others, guessed = site_covariances(moments, torch.tensor([30.0, 30.0, 30.0]))
    common = (others[0] + others[1]) / 2
    deviations = common.diagonal().sqrt()
    wanted = common / torch.outer(deviations, deviations)
    own = silent[0].deviations
    torch.testing.assert_close(guessed, wanted * torch.outer(own, own))
    # Its variances count in full: the pooled ones are exact.
    found = pool([*parts[:2], silent]).covariance.diagonal()
    np.testing.assert_allclose(found, exact(values, labels)[2].diagonal())


def test_what_varies_at_the_silent_site_alone_still_varies():
    values, labels = sample(6)
    first, second = values.copy(), values.copy()
    first[:, 0] = 1.0
    second[:, 0] += 1.0
    moments, counts = told(first, labels)
    silent = without_correlations(told(second, labels))
    found = pool([(moments, counts), silent]).covariance
    wanted = exact(np.concatenate([first, second]), np.concatenate([labels, labels]))[2]
    np.testing.assert_allclose(found.diagonal(), wanted.diagonal())
    assert found[0, 0] > 0


def test_without_any_correlations_features_vary_alone():
    parts = [without_correlations(told(*sample(seed))) for seed in (7, 8)]
    for (moments, _), own in zip(
        parts, site_covariances([m for m, _ in parts], torch.tensor([60.0, 60.0])), strict=True
    ):
        torch.testing.assert_close(own, torch.diag(moments.deviations.square()))


@pytest.mark.parametrize("place", [0, 1])
def test_a_site_that_tells_of_no_class_changes_nothing(place):
    site = told(*sample(9))
    zeros = Moments(torch.zeros(CLASSES, FEATURES), torch.zeros(FEATURES), torch.eye(FEATURES))
    nobody = (zeros, np.zeros(CLASSES, dtype=int))
    parts = [site]
    parts.insert(place, nobody)
    alone, together = pool([site]), pool(parts)
    assert alone.counts.equal(together.counts)
    torch.testing.assert_close(alone.means, together.means)
    torch.testing.assert_close(alone.covariance, together.covariance)
    nothing = pool([nobody])
    assert not nothing.counts.any()
    assert not nothing.covariance.any()
