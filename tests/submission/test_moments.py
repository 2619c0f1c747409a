"""Moments as tensors of a file. What a file may hold stands in test_bad_files and test_write."""

import pytest
import torch

from envoi.submission import Moments
from envoi.submission.layout import FEATURE_CORRELATIONS
from envoi.submission.moments import square


@pytest.mark.parametrize("features", [2, 3, 41])
def test_moments_come_back_from_the_tensors_of_a_file(features):
    draws = torch.Generator().manual_seed(features)
    samples = torch.randn(3 * features, features, generator=draws)
    given = Moments(
        torch.randn(4, features, generator=draws),
        torch.rand(features, generator=draws),
        torch.corrcoef(samples.T),
    )
    tensors = {**given.encoded(), "network/fc.bias": torch.zeros(4)}
    assert sum(t.numel() for t in given.encoded().values()) == features * (features + 9) // 2
    found = Moments.taken_from(tensors)
    assert set(tensors) == {"network/fc.bias"}
    assert torch.equal(found.means, given.means)
    assert torch.equal(found.deviations, given.deviations)
    torch.testing.assert_close(found.correlations, given.correlations, rtol=2**-11, atol=1e-7)
    assert torch.equal(found.correlations, found.correlations.T)
    assert torch.equal(found.correlations.diagonal(), torch.ones(features))
    again = Moments.taken_from(found.encoded())
    assert torch.equal(again.correlations, found.correlations)
    assert Moments.taken_from(tensors) is None


def test_the_triangle_stands_row_after_row():
    matrix = torch.tensor([[1.0, 2, 3, 5], [2, 1, 4, 6], [3, 4, 1, 7], [5, 6, 7, 1]]) / 8
    moments = Moments(torch.zeros(2, 4), torch.ones(4), matrix.fill_diagonal_(1))
    packed = moments.encoded()[FEATURE_CORRELATIONS]
    assert (8 * packed).tolist() == [2, 3, 4, 5, 6, 7]
    assert torch.equal(square(packed, 4), matrix)


def test_correlations_that_are_not_told_are_known_as_such():
    plain = Moments(torch.zeros(2, 3), torch.ones(3), torch.eye(3))
    assert not plain.has_correlations
    assert not Moments.taken_from(plain.encoded()).has_correlations
