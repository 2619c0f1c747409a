import numpy as np
import pytest
import torch
from monai.metrics.regression import MultiScaleSSIMMetric
from scipy.spatial.distance import cdist, pdist

from envoi.errors import ShapeError
from envoi.evaluation.similarity import (
    discrepancies,
    linear_discrepancy,
    median_distance,
    pair_similarity,
    rbf_discrepancy,
    scales_that_fit,
)


@pytest.fixture
def noise():
    return np.random.default_rng(0).random((5, 20, 24, 20), dtype=np.float32)


@pytest.mark.parametrize(
    ("side", "wanted"),
    [(128, (5, 7)), (96, (4, 7)), (48, (3, 7)), (28, (3, 7)), (24, (2, 7)), (6, (2, 3))],
)
def test_scales_and_window_fit_the_size_and_monai_takes_them(side, wanted):
    scales, kernel = scales_that_fit(side)
    assert (scales, kernel) == wanted
    metric = MultiScaleSSIMMetric(3, kernel_size=kernel, weights=(1 / scales,) * scales)
    volume = torch.rand(1, 1, side, 128, 128)[..., :side, :side]
    assert metric(volume, volume).item() == pytest.approx(1, abs=1e-4)


def test_copies_of_one_volume_have_similarity_one(noise):
    same = np.repeat(noise[:1], 4, axis=0)
    score = pair_similarity(same, pairs=100, seed=0)
    assert score.mean == pytest.approx(1, abs=1e-5)
    assert (score.pairs, score.scales, score.kernel_voxels) == (6, 2, 7)
    assert pair_similarity(noise, pairs=100, seed=0).mean < 0.2


def test_pairs_are_drawn_from_the_seed_without_repetition(noise):
    everything = pair_similarity(noise, pairs=10, seed=0)
    assert everything.pairs == 10
    assert everything.mean == pytest.approx(pair_similarity(noise, pairs=10, seed=1).mean)
    some = [pair_similarity(noise, pairs=3, seed=seed).mean for seed in (0, 0, 1)]
    assert some[0] == some[1] != some[2]


def test_linear_discrepancy_is_the_unbiased_distance_of_means():
    generator = np.random.default_rng(0)
    one, two = generator.normal(1, 1, (30, 3)), generator.normal(0, 1, (40, 3))
    biased = ((one.mean(0) - two.mean(0)) ** 2).sum()
    scatter = one.var(0, ddof=1).sum() / 30 + two.var(0, ddof=1).sum() / 40
    assert linear_discrepancy(one, two) == pytest.approx(biased - scatter)


def test_rbf_discrepancy_agrees_with_the_sums_of_the_definition():
    generator = np.random.default_rng(1)
    one, two = generator.normal(size=(7, 2)), generator.normal(size=(5, 2))
    within = [
        2 * np.exp(-(pdist(part) ** 2) / 8).sum() / (n * (n - 1))
        for part, n in ((one, 7), (two, 5))
    ]
    across = np.exp(-(cdist(one, two) ** 2) / 8).mean()
    assert rbf_discrepancy(one, two, 2.0) == pytest.approx(sum(within) - 2 * across)
    assert median_distance(one) == pytest.approx(np.median(pdist(one)))


def test_rbf_discrepancy_of_equal_distributions_scatters_around_zero():
    generator = np.random.default_rng(2)
    values = [
        rbf_discrepancy(generator.normal(size=(12, 4)), generator.normal(size=(20, 4)), 2.0)
        for _ in range(300)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)
    assert min(values) < 0


def test_rbf_sees_a_change_of_spread_that_the_linear_kernel_does_not():
    generator = np.random.default_rng(3)
    one, two = generator.normal(0, 3, (200, 2)), generator.normal(0, 1, (200, 2))
    assert rbf_discrepancy(one, two, median_distance(two)) > 0.1
    assert linear_discrepancy(one, two) < 0.1


def test_discrepancies_say_what_they_compare(noise):
    rbf, linear = discrepancies(noise[:3], noise[3:] / 2)
    assert (rbf.kernel, linear.kernel) == ("rbf", "linear")
    assert rbf.features == "voxels, means of 1 x 1 x 1"
    assert linear.bandwidth is None
    assert rbf.bandwidth > 0
    assert linear.squared == pytest.approx(1 / 16, rel=0.1)
    large = np.repeat(np.repeat(np.repeat(noise, 3, 1), 3, 2), 3, 3)
    assert discrepancies(large, large)[0].features == "voxels, means of 5 x 5 x 5"


def test_too_little_is_refused(noise):
    with pytest.raises(ShapeError, match="at least two volumes, found 1"):
        pair_similarity(noise[:1], pairs=3, seed=0)
    with pytest.raises(ShapeError, match="sides of at least 6 voxels, found 5"):
        scales_that_fit(5)
    with pytest.raises(ShapeError, match="at least two volumes in each set, found 1 and 5"):
        linear_discrepancy(np.zeros((1, 2)), np.zeros((5, 2)))
    with pytest.raises(ShapeError, match="two volumes in each set, found 5 and 1"):
        rbf_discrepancy(np.zeros((5, 2)), np.zeros((1, 2)), 1.0)
    with pytest.raises(ShapeError, match=r"volumes of \(20, 24, 19\) voxels"):
        discrepancies(noise, noise[..., :19])
