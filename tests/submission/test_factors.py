"""Correlations by common factors: fitted, rounded, completed, and what no file may hold."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.submission import Moments
from envoi.submission.factors import (
    common_factors,
    completed,
    encoded_factors,
    problem_of_factors,
    stored_factors,
)
from envoi.submission.layout import FACTOR_SCALES, FEATURE_CORRELATIONS, FEATURE_FACTORS
from envoi.submission.moments import problem_of_moments

quick = settings(deadline=None, max_examples=30)


def related(features, factors, *, images=2000, noise=1.0, seed=0):
    """Correlations of features that `factors` common causes drive."""
    draws = torch.Generator().manual_seed(seed)
    causes = torch.randn(images, factors, generator=draws)
    loads = torch.randn(factors, features, generator=draws)
    own = noise * torch.rand(features, generator=draws).add(0.2)
    noises = own * torch.randn(images, features, generator=draws)
    return torch.corrcoef((causes @ loads + noises).T)


def distance(found, wanted):
    """Kullback and Leibler's, of Gaussians with these correlations: what a likelihood sees."""
    ratio = torch.linalg.solve(found.double(), wanted.double())
    return float(ratio.trace() - torch.linalg.slogdet(ratio).logabsdet - len(ratio)) / 2


def by_eigenvectors(correlations, rank):
    values, vectors = torch.linalg.eigh(correlations.double())
    return completed((vectors * values.clamp_min(0).sqrt())[:, -rank:])


@pytest.mark.parametrize("rank", [1, 4])
def test_correlations_of_so_many_causes_come_back(rank):
    draws = torch.Generator().manual_seed(rank)
    loads = torch.randn(30, rank, generator=draws)
    loads = 0.9 * loads / loads.norm(dim=1, keepdim=True)
    wanted = (loads @ loads.T).fill_diagonal_(1)
    torch.testing.assert_close(
        completed(common_factors(wanted, rank)).float(), wanted, atol=2e-3, rtol=0
    )
    found = completed(stored_factors(encoded_factors(wanted, rank)))
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("rank", [2, 5])
def test_they_are_likelier_than_the_leading_eigenvectors(seed, rank):
    correlations = related(24, 6, seed=seed)
    fitted = completed(common_factors(correlations, rank))
    assert distance(fitted, correlations) < distance(
        by_eigenvectors(correlations, rank), correlations
    )


def test_factors_are_unrelated_beside_what_is_each_features_own_and_stand_by_strength():
    """L^T P^-1 L is diagonal at the greatest likelihood."""
    factors = common_factors(related(20, 8), 4)
    own = 1 - factors.square().sum(dim=1)
    inner = factors.T @ (factors / own[:, None])
    strengths = inner.diagonal()
    assert strengths.tolist() == sorted(strengths.tolist(), reverse=True)
    assert strengths.min() > 0.5
    assert (inner - torch.diag(strengths)).abs().max() < 0.1 * strengths.min()


@quick
@given(
    features=st.integers(2, 12), rank=st.integers(1, 2), spread=st.sampled_from([0.01, 1.0, 300.0])
)
def test_whatever_the_factors_are_correlations_come_of_them(features, rank, spread):
    draws = torch.Generator().manual_seed(features + rank)
    found = completed(spread * torch.randn(features, rank, generator=draws))
    assert torch.equal(found, found.T)
    assert found.abs().max() <= 1
    assert torch.equal(found.diagonal(), torch.ones(features))
    assert torch.linalg.eigvalsh(found.double())[0] > -1e-5


@quick
@given(features=st.integers(3, 12), rank=st.integers(1, 3), images=st.integers(2, 40))
def test_honest_files_are_never_refused(features, rank, images):
    correlations = related(features, 2, images=images, noise=1e-3, seed=images)
    tensors = encoded_factors(correlations, rank)
    assert tensors[FEATURE_FACTORS].shape == (features, rank)
    assert tensors[FEATURE_FACTORS].dtype == torch.int8
    assert problem_of_factors(stored_factors(tensors)) is None


def test_a_feature_is_never_more_than_itself():
    factors = torch.tensor([[0.6, 0.8], [0.1, 0.2]])
    assert problem_of_factors(factors) is None
    expected, found = problem_of_factors(1.02 * factors)
    assert (expected, found) == ("common parts of at most 1.01 of a feature", "1.04")


@pytest.mark.parametrize("correlations", [torch.eye(4), torch.full((4, 4), torch.nan)])
def test_nothing_to_tell_is_zero_and_what_is_not_finite_stays_so(correlations):
    tensors = encoded_factors(correlations, 2)
    if correlations.isnan().all():
        assert not tensors[FACTOR_SCALES].isfinite().any()
    else:
        assert not tensors[FEATURE_FACTORS].any()
        assert torch.equal(completed(stored_factors(tensors)), correlations)


def test_features_that_never_vary_stay_unrelated():
    correlations = torch.eye(6)
    correlations[:5, :5] = related(5, 2)
    found = completed(common_factors(correlations, 3))
    torch.testing.assert_close(found[5], torch.eye(6, dtype=torch.float64)[5], atol=1e-6, rtol=0)


def test_moments_go_through_a_file_by_their_factors():
    given_moments = Moments(torch.ones(2, 20), torch.rand(20), related(20, 3))
    tensors = given_moments.encoded(4)
    assert FEATURE_CORRELATIONS not in tensors
    assert problem_of_moments(tensors, (60, 70), minimum_images=100) is None
    few = problem_of_moments(tensors, (60, 20), minimum_images=100)
    assert few == ("no correlations from fewer than 100 images", "some")
    found = Moments.taken_from(tensors)
    assert not tensors
    assert torch.equal(found.means, given_moments.means)
    assert torch.equal(found.deviations, given_moments.deviations)
    assert found.has_correlations
    assert distance(found.correlations, given_moments.correlations) < 0.5
    silent = Moments(torch.ones(2, 20), torch.rand(20), torch.eye(20)).encoded(4)
    assert not Moments.taken_from(silent).has_correlations
