import numpy as np
import pytest
from scipy.linalg import sqrtm

from envoi.errors import ShapeError
from envoi.evaluation.extractors import random_conv
from envoi.evaluation.frechet import (
    Gaussian,
    frechet_distance,
    frechet_reference,
    frechet_score,
    gaussian_of,
    groups,
)
from tests.evaluation.phantoms import heads


def spd(seed, size=6):
    root = np.random.default_rng(seed).normal(size=(size, size))
    return root @ root.T + 0.1 * np.eye(size)


def test_independent_features_have_the_distance_of_means_and_deviations():
    one = Gaussian(np.array([1.0, -2.0, 0.5]), np.diag([1.0, 4.0, 9.0]))
    two = Gaussian(np.array([0.0, 1.0, 0.5]), np.diag([4.0, 4.0, 1.0]))
    means, deviations = 1 + 9 + 0, (1 - 2) ** 2 + (2 - 2) ** 2 + (3 - 1) ** 2
    assert frechet_distance(one, two) == pytest.approx(means + deviations)
    assert frechet_distance(two, one) == pytest.approx(15)


def test_the_distance_agrees_with_the_matrix_square_root():
    generator = np.random.default_rng(0)
    one, two = (Gaussian(generator.normal(size=6), spd(seed)) for seed in (1, 2))
    root = sqrtm(one.covariance @ two.covariance).real
    expected = ((one.mean - two.mean) ** 2).sum() + np.trace(
        one.covariance + two.covariance - 2 * root
    )
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-6)


def test_equal_gaussians_are_at_distance_zero_even_if_degenerate():
    same = Gaussian(np.zeros(6), spd(0))
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-9)
    flat = Gaussian(np.ones(3), np.diag([1.0, 0.0, 0.0]))
    assert frechet_distance(flat, flat) == pytest.approx(0, abs=1e-9)


def test_samples_of_known_gaussians_have_nearly_the_known_distance():
    generator = np.random.default_rng(0)
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    one = generator.multivariate_normal([0, 0], covariance, 40_000)
    two = generator.multivariate_normal([1, 0], np.diag([4.0, 0.25]), 40_000)
    shrunk = [0.9 * np.asarray(c) + 0.1 * np.eye(2) for c in (covariance, np.diag([4.0, 0.25]))]
    known = frechet_distance(
        Gaussian(np.zeros(2), shrunk[0]), Gaussian(np.array([1.0, 0.0]), shrunk[1])
    )
    assert frechet_distance(gaussian_of(one), gaussian_of(two)) == pytest.approx(known, rel=0.03)
    np.testing.assert_allclose(gaussian_of(one).covariance, shrunk[0], atol=0.03)


@pytest.fixture(scope="module")
def reference():
    return frechet_reference(random_conv(), heads(10), "axial")


def test_scores_name_extractor_plane_and_sizes(reference):
    score = frechet_score(heads(5, seed=1), reference, group_volumes=2, seed=0)
    assert (score.extractor, score.plane) == ("random_conv", "axial")
    assert (score.group_volumes, score.groups) == (2, 2)
    assert 80 < score.slices < 160
    assert score.reference_slices == reference.slices > 200


def test_the_reference_is_at_distance_zero_from_itself(reference):
    score = frechet_score(heads(10), reference, group_volumes=10, seed=0)
    assert score.distance == pytest.approx(0, abs=1e-6)


def test_noise_is_farther_than_other_people(reference):
    others = heads(6, seed=1)
    noise = np.random.default_rng(0).normal(0, 0.06, others.shape)
    noisy = np.where(others > 0, (others + noise).clip(0.01, 1), 0).astype(np.float32)
    real, wrong = (
        frechet_score(part, reference, group_volumes=6, seed=0).distance for part in (others, noisy)
    )
    assert wrong > 2 * real


def test_features_that_hardly_vary_do_not_outweigh_others(reference):
    assert reference.scale.min() >= 0.04 * reference.scale.mean()


def test_groups_are_disjoint_and_drawn_from_the_seed():
    found = groups(11, 3, seed=0)
    assert [len(one) for one in found] == [3, 3, 3]
    assert len(set(np.concatenate(found).tolist())) == 9
    np.testing.assert_array_equal(groups(11, 3, seed=0), found)
    assert np.concatenate(groups(11, 3, seed=1)).tolist() != np.concatenate(found).tolist()


def test_too_little_is_refused():
    with pytest.raises(ShapeError, match="a group of 1 to 3 volumes, found 4"):
        groups(3, 4, seed=0)
    with pytest.raises(ShapeError, match="a group of 1 to 3 volumes, found 0"):
        groups(3, 0, seed=0)
    with pytest.raises(ShapeError, match="at least two slices with enough brain, found 1"):
        gaussian_of(np.zeros((1, 4)))
