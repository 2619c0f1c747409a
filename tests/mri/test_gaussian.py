"""What covariance is learned, and whom it draws, where voxels are known and where not."""

import math

import pytest
import torch

from envoi.mri.gaussian import Gaussian, Known, shrinkage

SHAPE = (3, 4, 6)
VOXELS = math.prod(SHAPE)


@pytest.fixture
def covariance(generator):
    """Of volumes that two smooth factors, mirrored ones too, and own noise make."""
    factors = torch.randn(2, *SHAPE, generator=generator).cumsum(dim=1)
    factors = torch.stack([factors, factors.flip(-1)]).flatten(0, 1).flatten(1)
    return factors.T @ factors / 2 + 0.3 * torch.eye(VOXELS)


@pytest.fixture
def volumes(covariance, generator):
    root = torch.linalg.cholesky(covariance)
    return (torch.randn(300, VOXELS, generator=generator) @ root.T).reshape(-1, *SHAPE)


@pytest.fixture
def gaussian(volumes):
    learned = Gaussian(SHAPE, factors=VOXELS)
    learned.learn(volumes, strangers(len(volumes)))
    return learned


def learned_covariance(gaussian):
    return gaussian.weights.T @ gaussian.weights + torch.diag(gaussian.left)


def strangers(count):
    """People of unknown age and sex."""
    return torch.full((count, 2), math.nan)


STRANGER = torch.full((2,), math.nan)
NOTHING = Known(torch.zeros(SHAPE), torch.zeros(SHAPE))


def drawn(gaussian, known, count, generator):
    return torch.stack([gaussian.draw(STRANGER, known, generator).flatten() for _ in range(count)])


def test_it_learns_the_covariance(gaussian, covariance):
    wrong = (learned_covariance(gaussian) - covariance).norm() / covariance.norm()
    assert wrong < 0.15


def test_every_variance_is_that_of_the_volumes_seen_both_ways(gaussian, volumes):
    found = learned_covariance(gaussian).diagonal()
    seen = torch.cat([volumes, volumes.flip(-1)]).flatten(1).square().mean(dim=0)
    torch.testing.assert_close(found, seen, atol=2e-3, rtol=1e-3)


def test_few_factors_leave_the_rest_to_the_voxels(volumes):
    few = Gaussian(SHAPE, factors=3)
    few.learn(volumes, strangers(len(volumes)))
    whole = Gaussian(SHAPE, factors=VOXELS)
    whole.learn(volumes, strangers(len(volumes)))
    torch.testing.assert_close(
        learned_covariance(few).diagonal(), learned_covariance(whole).diagonal()
    )
    assert (few.left >= whole.left).all()


def test_factors_beyond_the_volumes_are_nothing(volumes):
    wide = Gaussian(SHAPE, factors=VOXELS)
    wide.learn(volumes[:4], strangers(4))
    assert wide.weights[:8].any(dim=1).all()
    assert not wide.weights[8:].any()


def test_it_draws_what_it_learned(gaussian, generator):
    found = drawn(gaussian, NOTHING, 3000, generator)
    wanted = learned_covariance(gaussian)
    deviation = (wanted.diagonal() / len(found)).sqrt()
    assert (found.mean(dim=0) / deviation).square().mean() < 3
    assert (found.T @ found / len(found) - wanted).norm() / wanted.norm() < 0.15


def test_what_is_drawn_around_known_voxels_has_the_posterior(gaussian, generator):
    """Against the textbook's formulas, with the whole covariance."""
    mean, share = torch.zeros(SHAPE), torch.zeros(SHAPE)
    mean[0], share[0] = 0.7, 1.0  # the first slice is known, and a half of two voxels
    mean[2, 1, :2], share[2, 1, :2] = -1.0, 0.5
    found = drawn(gaussian, Known(mean, share), 3000, generator).double()
    prior = learned_covariance(gaussian.double())
    look = torch.eye(VOXELS, dtype=torch.float64)[share.flatten() > 0]
    doubt = torch.where(share[share > 0] == 1, 0.01, 0.11).double()
    gain = prior @ look.T @ torch.linalg.inv(look @ prior @ look.T + torch.diag(doubt))
    wanted = gain @ mean[share > 0].double()
    covariance = prior - gain @ look @ prior
    deviation = (covariance.diagonal() / len(found)).sqrt()
    assert ((found.mean(dim=0) - wanted) / deviation).square().mean() < 3
    apart = found - wanted
    wrong = apart.T @ apart / len(found) - covariance
    assert wrong.norm() / covariance.norm() < 0.15


def test_known_voxels_are_nearly_kept(gaussian, generator):
    scan = gaussian.draw(STRANGER, NOTHING, generator)
    known = Known(scan, torch.ones(SHAPE))
    apart = drawn(gaussian, known, 50, generator) - scan.flatten()
    assert apart.square().mean().sqrt() < 0.12


def test_a_part_tells_less_than_the_whole_of_a_block(gaussian, generator):
    means = []
    for told in (1.0, 0.5, 0.1):
        mean, share = torch.zeros(SHAPE), torch.zeros(SHAPE)
        mean[1, 2, 3], share[1, 2, 3] = 1.0, told
        draws = drawn(gaussian, Known(mean, share), 2000, generator).reshape(-1, *SHAPE)
        means.append(float(draws[:, 1, 2, 3].mean()))
    whole, half, tenth = means
    assert 1.05 > whole > half > tenth > 0


def test_bf16_leaves_it_exact(gaussian):
    def once():
        return gaussian.draw(STRANGER, NOTHING, torch.Generator().manual_seed(0))

    plain = once()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain, once())


def test_independent_voxels_are_shrunk_to_their_variances(generator):
    assert shrinkage(torch.randn(40, 500, generator=generator)) > 0.9


def test_strong_factors_are_hardly_shrunk(volumes):
    assert shrinkage(volumes.flatten(1)) < 0.1


@pytest.mark.parametrize("rows", [torch.ones(1, 5), torch.zeros(4, 5)])
def test_one_volume_and_equal_ones_tell_no_covariance(rows):
    assert shrinkage(rows) == 1


def test_shrinkage_is_the_published_estimate(generator):
    """Sum of the variances of the entries off the diagonal, over the sum of their squares."""
    rows = torch.randn(12, 5, generator=generator).cumsum(dim=1).double()
    products = rows[:, :, None] * rows[:, None, :]
    off = ~torch.eye(5, dtype=torch.bool)
    of_mean = products.var(dim=0, unbiased=True)[off].sum() / 12
    wanted = of_mean / products.mean(dim=0)[off].square().sum()
    assert shrinkage(rows) == pytest.approx(float(wanted))
