"""Moments of images: against scikit-learn, and the sum over sites that they are made for."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from envoi.errors import DataError
from envoi.networks.descriptor import Descriptor
from envoi.site.moments import feature_moments, image_moments
from envoi.submission.moments import problem_of_moments
from envoi.transforms import normalise

ALL = ["class_counts", "feature_moments"]


def correlated(count, *, seed, size=8, classes=3):
    """Features that vary together, on scales from 0.001 to 1000, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    mixed = rng.normal(0, 1, (count, size)) @ np.random.default_rng(1).normal(0, 1, (size, size))
    return (mixed + labels[:, None]) * np.logspace(-3, 3, size), labels


def moments_of(values, labels, *, classes=3, minimum=1, minimum_covariance=2):
    return feature_moments(
        values, labels, classes=classes, minimum=minimum, minimum_covariance=minimum_covariance
    )


@pytest.fixture
def features():
    values, _ = correlated(53, seed=0)
    return values, np.array([0] * 30 + [1] * 20 + [2] * 3)


@pytest.mark.parametrize(("count", "size"), [(50, 8), (50, 3), (20, 40), (2000, 8)])
def test_moments_agree_with_scikit_learn(count, size):
    values, labels = correlated(count, seed=2, size=size)
    found = moments_of(values, labels)
    centred = np.empty_like(values)
    for label in range(3):
        mean = values[labels == label].mean(axis=0)
        np.testing.assert_allclose(found.means[label], mean, rtol=1e-5)
        centred[labels == label] = values[labels == label] - mean
    deviations = centred.std(axis=0)
    np.testing.assert_allclose(found.deviations, deviations, rtol=1e-6)
    wanted, shrinkage = ledoit_wolf(centred / deviations, assume_centered=True)
    assert 0 < shrinkage < 1
    np.testing.assert_allclose(found.correlations, wanted, atol=1e-6)


def test_classes_under_the_minimum_leave_no_trace(features):
    values, labels = features
    found = moments_of(values, labels, classes=4, minimum=10)
    assert not found.means[2:].any()
    values[labels == 2] *= 100
    again = moments_of(values, labels, classes=4, minimum=10)
    assert torch.equal(again.means, found.means)
    assert torch.equal(again.deviations, found.deviations)
    assert torch.equal(again.correlations, found.correlations)


def test_no_class_at_the_minimum_gives_zeros(features):
    found = moments_of(*features, classes=4, minimum=99)
    assert found.means.shape == (4, 8)
    assert not found.means.any()
    assert not found.deviations.any()
    assert not found.has_correlations


@pytest.mark.parametrize(("minimum", "told"), [(50, True), (51, False)])
def test_too_few_images_tell_of_no_correlations(features, minimum, told):
    """Images of suppressed classes do not count: 50 of the 53 are told of."""
    found = moments_of(*features, minimum=10, minimum_covariance=minimum)
    assert found.has_correlations == told
    assert (found.deviations > 0).all()
    assert told or torch.equal(found.correlations, torch.eye(8))


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 12345.678])
def test_features_that_are_the_same_in_all_images_vary_with_nothing(value):
    """Nor by what rounding makes of them."""
    rng = np.random.default_rng(0)
    values = np.stack([np.full(7, value), np.full(7, 3 * value), rng.normal(0, 1, 7)], axis=1)
    values[:, 1] *= 1 + rng.choice([-1, 1], 7) * np.finfo(np.float32).eps
    values[:, 2] += value
    found = moments_of(values, np.zeros(7, int), classes=2)
    assert found.deviations[:2].tolist() == [0, 0]
    assert found.deviations[2] > 0.1
    assert torch.equal(found.correlations, torch.eye(3))


def test_two_images_of_a_class_are_enough():
    values = np.array([[0.0, 1.0], [2.0, -1.0]])
    found = moments_of(values, np.zeros(2, int), classes=2)
    assert found.means.tolist() == [[1, 0], [0, 0]]
    assert found.deviations.tolist() == [1, 1]
    assert found.correlations.tolist() == [[1, -1], [-1, 1]]


@pytest.mark.parametrize("angles", [3, 4, 8, 20])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_half_precision_never_makes_moments_that_are_refused(angles, seed):
    """Features that repeat one another add up their rounding; 345 are about a descriptor's."""
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(2000, 2)) @ rng.normal(size=(2, angles))
    found = moments_of(np.repeat(plane, 345 // angles, axis=1), np.zeros(2000, int), classes=1)
    assert problem_of_moments(found.encoded(), (2000,), minimum_images=2) is None


# What a server does with them: the moments of sites, added up, are those of all their images.


def scatter_of(values, labels, classes):
    """Counts, means, and the scatter within classes, of told classes by plain NumPy."""
    counts = np.bincount(labels, minlength=classes)
    means = np.stack([values[labels == label].mean(axis=0) for label in range(classes)])
    centred = values - means[labels]
    return counts, means, centred.T @ centred


def unshrunk(moments, values, labels, counts):
    """The covariance behind shrunk correlations, its shrinkage taken from scikit-learn."""
    told = counts[labels] > 0
    centred = (values - moments.means.numpy()[labels])[told]
    deviations = moments.deviations.double().numpy()
    _, shrinkage = ledoit_wolf(centred / deviations, assume_centered=True)
    identity = np.eye(len(deviations))
    correlations = (moments.correlations.double().numpy() - shrinkage * identity) / (1 - shrinkage)
    return correlations * np.outer(deviations, deviations)


def pooled(parts, *, classes=3, minimum=1):
    """Means weighted by counts, and scatter within sites plus scatter between them."""
    sites = []
    for values, labels in parts:
        counts = np.bincount(labels, minlength=classes)
        counts[counts < minimum] = 0
        moments = moments_of(values, labels, classes=classes, minimum=minimum)
        sites.append((counts, moments, unshrunk(moments, values, labels, counts)))
    total = sum(counts for counts, _, _ in sites)
    means = sum(counts[:, None] * moments.means.double().numpy() for counts, moments, _ in sites)
    means = means / total[:, None]
    scatter = sum(counts.sum() * covariance for counts, _, covariance in sites)
    for counts, moments, _ in sites:
        apart = moments.means.double().numpy() - means
        scatter = scatter + np.einsum("c,ci,cj->ij", counts, apart, apart)
    return total, means, scatter


def assert_pooled(found, wanted):
    np.testing.assert_array_equal(found[0], wanted[0])
    scale = np.sqrt(np.diag(wanted[2]) / wanted[0].sum())
    np.testing.assert_allclose(found[1] / scale, wanted[1] / scale, atol=1e-5)
    size = np.outer(scale, scale) * wanted[0].sum()
    np.testing.assert_allclose(found[2] / size, wanted[2] / size, atol=1e-5)


@pytest.mark.parametrize("cut", [30, 100, 150])
def test_pooled_moments_of_sites_are_those_of_all_images(cut):
    values, labels = correlated(200, seed=3)
    values[:cut] += 2 * np.logspace(-3, 3, 8)  # another scanner
    parts = [(values[:cut], labels[:cut]), (values[cut:], labels[cut:])]
    assert_pooled(pooled(parts), scatter_of(values, labels, 3))


def test_a_class_that_only_one_site_has_is_pooled_from_there():
    values, labels = correlated(200, seed=4)
    own = labels != 1
    first = np.arange(200) < 90
    chosen = own | ~first
    parts = [(values[own & first], labels[own & first]), (values[~first], labels[~first])]
    assert_pooled(pooled(parts), scatter_of(values[chosen], labels[chosen], 3))


def test_suppressed_images_are_missing_from_the_sum_and_nothing_else_is():
    values, labels = correlated(200, seed=5)
    labels[:60] = np.where(np.arange(60) < 4, 2, labels[:60] % 2)  # four of class 2 at one site
    parts = [(values[:60], labels[:60]), (values[60:], labels[60:])]
    told = np.arange(200) >= 4
    assert_pooled(pooled(parts, minimum=10), scatter_of(values[told], labels[told], 3))


def test_shrinkage_vanishes_where_there_are_many_images():
    """So that the sum needs to know nothing of it."""
    values, labels = correlated(60_000, seed=6)
    found = moments_of(values, labels)
    _, means, scatter = scatter_of(values, labels, 3)
    deviations = np.sqrt(np.diag(scatter) / len(values))
    np.testing.assert_allclose(found.deviations, deviations, rtol=1e-6)
    wanted = scatter / len(values) / np.outer(deviations, deviations)
    np.testing.assert_allclose(found.correlations, wanted, atol=1e-3)
    np.testing.assert_allclose(found.means.numpy() / deviations, means / deviations, atol=1e-5)


# What docs/submission.md says of them


def surprise(found, values, *, alone=False):
    """How far images lie outside what a file tells of one class."""
    standardised = (values - found.means[0].numpy()) / found.deviations.numpy()
    told = np.eye(len(found.deviations)) if alone else found.correlations.double().numpy()
    return np.einsum("ni,ij,nj->n", standardised, np.linalg.inv(told), standardised)


def test_correlations_of_few_images_give_members_away_and_deviations_do_not():
    values, _ = correlated(1200, seed=7, size=100)
    members, others = values[:110], values[200:]
    found = moments_of(members, np.zeros(110, int))
    member = np.arange(len(members) + len(others)) < len(members)
    both = np.concatenate([members, others])
    assert roc_auc_score(member, -surprise(found, both)) > 0.9
    assert roc_auc_score(member, -surprise(found, both, alone=True)) < 0.65
    for count, low, high in ((300, 0.6, 0.95), (1100, 0.5, 0.7)):
        found = moments_of(values[:count], np.zeros(count, int))
        assert low < roc_auc_score(np.arange(1200) < count, -surprise(found, values)) < high


# Of images


def test_moments_of_images_are_those_of_their_description(make_images, make_study):
    study = make_study(
        statistics={"release": ALL, "minimum_class_size": 5, "minimum_covariance_images": 40}
    )
    images = make_images(labels=[0] * 20 + [1] * 20 + [2] * 3)
    found = image_moments(images, study)
    described = Descriptor(1, 12)(normalise(images.images, study.image)).numpy()
    wanted = moments_of(described, images.labels, minimum=5, minimum_covariance=40)
    torch.testing.assert_close(found.means, wanted.means)
    torch.testing.assert_close(found.deviations, wanted.deviations, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.correlations, wanted.correlations, rtol=0, atol=1e-3)
    assert found.has_correlations
    assert not found.means[2].any()
    assert not image_moments(images.subset(range(1, 43)), study).has_correlations


def test_moments_do_not_depend_on_batches(make_images, make_study, monkeypatch):
    study = make_study(statistics={"release": ALL, "minimum_covariance_images": 20})
    images = make_images(30)
    whole = image_moments(images, study)
    monkeypatch.setattr("envoi.site.moments.EVALUATION_BATCH", 7)
    parts = image_moments(images, study)
    torch.testing.assert_close(parts.means, whole.means)
    torch.testing.assert_close(parts.correlations, whole.correlations, rtol=0, atol=1e-3)


def test_other_images_than_the_studys_are_refused(make_images, make_study):
    with pytest.raises(DataError, match="12 pixels, as the study says"):
        image_moments(make_images(size=10), make_study(statistics={"release": ALL}))
