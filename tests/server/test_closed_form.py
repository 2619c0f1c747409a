"""The classifier of one solve: against scikit-learn, and the same for every partition."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from envoi.networks.descriptor import Descriptor
from envoi.server import closed_form
from envoi.server.closed_form import DescriptorClassifier, discriminant, log_prior
from envoi.server.methods.closed_form import ClosedForm
from envoi.server.pooled import PooledMoments, pooled_moments
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.submission import Moments
from envoi.types import ImageSpec
from tests.conftest import make_moments, make_teachers

CLASSES, FEATURES = 3, 6


def sample(seed=0, count=400):
    """Well-conditioned features of three classes that overlap; seeds differ in images alone."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(7)
    labels = rng.choice(CLASSES, count, p=[0.6, 0.3, 0.1])
    centres = fixed.normal(size=(CLASSES, FEATURES))
    mixing = np.eye(FEATURES) + 0.1 * fixed.normal(size=(FEATURES, FEATURES))
    return rng.normal(size=(count, FEATURES)) @ mixing + centres[labels] + 5, labels


def pooled(values, labels, classes=CLASSES):
    counts = np.bincount(labels, minlength=classes)
    means = np.zeros((classes, values.shape[1]))
    for label in np.flatnonzero(counts):
        means[label] = values[labels == label].mean(axis=0)
    centred = values - means[labels]
    parts = (counts.astype(float), means, centred.T @ centred / len(values))
    return PooledMoments(*map(torch.from_numpy, parts))


def log_probabilities(moments, values, power=1.0):
    weight, bias = discriminant(moments)
    logits = torch.from_numpy(values) @ weight.T + bias + log_prior(moments.counts, power)
    return logits.log_softmax(dim=1).numpy()


def test_without_a_ridge_it_is_scikit_learns(monkeypatch):
    monkeypatch.setattr(closed_form, "RIDGE", 0.0)
    values, labels = sample()
    reference = LinearDiscriminantAnalysis(solver="lsqr").fit(values, labels)
    tests, _ = sample(1)
    found = log_probabilities(pooled(values, labels), tests)
    np.testing.assert_allclose(found, reference.predict_log_proba(tests), atol=1e-8)


def test_the_ridge_hardly_moves_well_conditioned_answers():
    values, labels = sample()
    reference = LinearDiscriminantAnalysis(solver="lsqr").fit(values, labels)
    tests, _ = sample(1)
    found = log_probabilities(pooled(values, labels), tests)
    wanted = reference.predict_log_proba(tests)
    assert (found.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.995
    # Each log-odds is a form in S^-1, and shrinks by its share of the ridge at the most.
    lowest = np.linalg.eigvalsh(np.corrcoef(values - reference.means_[labels], rowvar=False))[0]
    bound = closed_form.RIDGE / lowest
    odds, wanted_odds = found - found[:, :1], wanted - wanted[:, :1]
    assert np.abs(odds - wanted_odds).max() < 3 * bound * np.abs(wanted_odds).max()
    assert np.abs(odds - wanted_odds).max() > 0


def test_the_ridge_is_scikit_learns_shrinkage_of_the_correlations():
    """With deviations of one: (1 - a) S + a I = (1 - a) (S + ridge I), a = ridge / (1 + ridge)."""
    values, labels = sample()
    means = np.stack([values[labels == label].mean(axis=0) for label in range(CLASSES)])
    values = values / (values - means[labels]).std(axis=0)
    shrinkage = closed_form.RIDGE / (1 + closed_form.RIDGE)
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(values, labels)
    wanted = (reference.decision_function(values) - np.log(reference.priors_)) * (1 - shrinkage)
    found = log_probabilities(pooled(values, labels), values, power=0.0)
    np.testing.assert_allclose(
        found[:, 1:] - found[:, :1], wanted[:, 1:] - wanted[:, :1], atol=1e-8
    )


def test_features_on_any_scale_give_the_same_answers():
    values, labels = sample()
    scales = np.logspace(-3, 3, FEATURES)
    plain = log_probabilities(pooled(values, labels), values)
    scaled = log_probabilities(pooled(values * scales, labels), values * scales)
    np.testing.assert_allclose(plain, scaled, atol=1e-7)
    moved = log_probabilities(pooled(values + 1000, labels), values + 1000)
    np.testing.assert_allclose(plain, moved, atol=1e-6)


def test_a_feature_that_never_varies_says_nothing():
    values, labels = sample()
    even = np.concatenate([values, np.full((len(values), 1), 7.0)], axis=1)
    found = log_probabilities(pooled(even, labels), even)
    np.testing.assert_allclose(found, log_probabilities(pooled(values, labels), values), atol=1e-9)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_prior_is_the_counts_to_a_power(power):
    found = log_prior(torch.tensor([8.0, 2.0, 0.0]), power)
    assert (found[0] - found[1]).item() == pytest.approx(power * np.log(4))
    assert found[2] < -50


def test_classes_without_images_are_ruled_out_however_odd_the_image():
    values, labels = sample()
    moments = pooled(np.where(labels[:, None] == 2, 50.0, 1.0) * values, labels, classes=5)
    odd = np.random.default_rng(0).normal(0, 1000, (200, FEATURES))
    for power in (0.0, 1.0):
        found = log_probabilities(moments, np.concatenate([values, odd, -50 * values]), power)
        assert np.isfinite(found).all()
        assert (found[:, 3:].max(axis=1) < found[:, :3].max(axis=1) - 90).all()


def pictures(count=90):
    """Normalised images of three brightnesses, and labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    noise = torch.randn(count, 1, 6, 6, generator=generator)
    return (0.2 * noise + 0.3 * (labels[:, None, None, None] - 1)).clamp(-1, 1), labels


def site_of(features, labels):
    """Moments and counts, unshrunk, in double precision."""
    moments = pooled(features, labels)
    deviations = moments.covariance.diagonal().sqrt()
    scale = torch.where(deviations > 0, deviations, 1.0)
    correlations = moments.covariance / torch.outer(scale, scale)
    correlations.fill_diagonal_(1)
    return Moments(moments.means, deviations, correlations), moments.counts.float()


PARTITIONS = {
    "one site": lambda labels, rng: np.zeros(len(labels), int),
    "even": lambda labels, rng: rng.integers(0, 3, len(labels)),
    "one class per site": lambda labels, rng: labels,
    "skewed": lambda labels, rng: np.where(rng.random(len(labels)) < 0.9, labels, 0),
}


@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_partition_of_the_same_images_gives_the_same_answers(partition):
    images, labels = pictures()
    features, labels = Descriptor(1, 6)(images).double().numpy(), labels.numpy()
    owner = PARTITIONS[partition](labels, np.random.default_rng(2))
    parts = [site_of(features[owner == k], labels[owner == k]) for k in np.unique(owner)]
    moments, counts = zip(*parts, strict=True)
    found = pooled_moments(moments, torch.stack(counts))
    image = ImageSpec.of(1, 6)
    answers = DescriptorClassifier(found, image, log_prior(found.counts))(images)
    whole = pooled(features, labels)
    wanted = DescriptorClassifier(whole, image, log_prior(whole.counts))(images)
    torch.testing.assert_close(answers.log_softmax(1), wanted.log_softmax(1), atol=2e-3, rtol=1e-3)
    assert (wanted.argmax(1).numpy() == labels).mean() > 0.95


def test_the_network_answers_as_double_precision_does():
    images, labels = pictures()
    features = Descriptor(1, 6)(images).double()
    moments = pooled(features.numpy(), labels.numpy())
    weight, bias = discriminant(moments)
    wanted = (features @ weight.T + bias).log_softmax(1).float()
    found = DescriptorClassifier(moments, ImageSpec.of(1, 6))(images).log_softmax(1)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-4)


def fit(teachers, **settings):
    given = {"budget": Budget(), "generator": torch.Generator()}
    return ClosedForm(**settings).fit(teachers, torch.nn.Identity(), **given)


def test_the_method_is_that_classifier_of_the_sites_moments(teachers, images):
    found = fit(teachers, prior_power=0.5)(images)
    moments = pooled_moments(teachers.moments, teachers.class_counts)
    prior = 0.5 * torch.tensor([35.0, 40.0, 60.0]).log()
    wanted = DescriptorClassifier(moments, teachers.image)(images) + prior
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-4)


def test_networks_do_not_matter_to_it(images):
    first = make_teachers()
    other = make_teachers(architecture="wrn-16-2")
    assert fit(first)(images).equal(fit(other)(images))


def test_it_tells_images_of_its_classes_apart():
    teachers = make_teachers(channels=1)
    labels = torch.arange(3).repeat_interleave(20)
    noise = torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    images = (0.2 * noise + 0.3 * (labels[:, None, None, None] - 1)).clamp(-1, 1)
    assert (fit(teachers)(images).argmax(1) == labels).float().mean() > 0.85


def test_its_flop_are_those_of_the_solve(teachers):
    size = len(teachers.moments[0].deviations)
    flop = ClosedForm().flop(teachers, torch.nn.Identity(), budget=Budget())
    assert flop == pytest.approx(2 / 3 * size**3)


def test_the_order_of_sites_does_not_matter(teachers, images):
    turned = Teachers(teachers.members[::-1], teachers.image)
    torch.testing.assert_close(fit(turned)(images), fit(teachers)(images), atol=1e-2, rtol=1e-3)


def test_classes_of_no_site_are_never_answered(images):
    counts = ((30, 10, 0), (20, 20, 0))
    teachers = make_teachers(counts)
    assert make_moments(counts[0], 1).means[2].eq(0).all()
    odd = torch.cat([images, 100 * images, torch.ones(2, 3, 8, 8), -torch.ones(2, 3, 8, 8)])
    found = fit(teachers)(odd)
    assert found.isfinite().all()
    assert (found[:, 2] < found[:, :2].max(1).values - 90).all()
