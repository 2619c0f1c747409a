"""What mean and covariance tell of noisy and known voxels."""

import math

import pytest
import torch

from envoi.mri.gaussian import Gaussian, shrinkage
from envoi.mri.solver import walk

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


def nothing_known(count):
    return torch.zeros(count, 2, *SHAPE)


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


@pytest.mark.parametrize("time", [0.0, 0.3, 0.9])
def test_what_is_expected_is_the_posterior_mean(gaussian, generator, time):
    """Against the textbook's formula, with the whole covariance."""
    angle = time * torch.linspace(0.5, 1.0, VOXELS).reshape(SHAPE) * math.pi / 2
    noisy = torch.randn(2, 1, *SHAPE, generator=generator)
    known = nothing_known(2)
    known[1, 0, 0], known[1, 1, 0] = 0.7, 1.0  # the first slice of the second is known
    data, noise = gaussian.expected(noisy, angle, known, strangers(len(noisy)))
    gaussian = gaussian.double()
    prior = learned_covariance(gaussian)
    sine, cosine = angle.sin().flatten().double(), angle.cos().flatten().double()
    for item in range(2):
        seen, of_seen, doubt = [noisy[item].flatten().double()], [torch.diag(sine)], [cosine**2]
        if item:
            first = torch.eye(VOXELS, dtype=torch.float64)[: VOXELS // SHAPE[0]]
            seen.append(torch.full((len(first),), 0.7, dtype=torch.float64))
            of_seen.append(first)
            doubt.append(torch.full((len(first),), 0.01, dtype=torch.float64))
        look = torch.cat(of_seen)
        gain = (
            prior @ look.T @ torch.linalg.inv(look @ prior @ look.T + torch.diag(torch.cat(doubt)))
        )
        wanted = gain @ torch.cat(seen)
        torch.testing.assert_close(data[item].flatten().double(), wanted, atol=2e-4, rtol=1e-3)
    again = angle.sin() * data + angle.cos() * noise
    torch.testing.assert_close(again, noisy, atol=1e-4, rtol=1e-3)


def test_a_part_tells_less_than_the_whole_of_a_block(gaussian):
    noisy, angle = torch.zeros(3, 1, *SHAPE), torch.zeros(SHAPE)
    known = nothing_known(3)
    known[:, 0, 1, 2, 3] = 1.0
    known[:, 1, 1, 2, 3] = torch.tensor([1.0, 0.5, 0.1])
    data, _ = gaussian.expected(noisy, angle, known, strangers(len(noisy)))
    whole, half, tenth = data[:, 0, 1, 2, 3].tolist()
    assert 1 > whole > half > tenth > 0


def test_it_draws_what_it_learned(gaussian, covariance):
    """Its answers alone turn noise, in which they are linear, into volumes with its covariance."""

    def split(state, angle, time):
        del time
        return gaussian.expected(state, angle, nothing_known(len(state)), strangers(len(state)))

    start = torch.eye(VOXELS).reshape(VOXELS, 1, *SHAPE)
    drawn = walk(split, start, torch.ones(SHAPE), 100).flatten(1)
    wrong = (drawn.T @ drawn - covariance).norm() / covariance.norm()
    assert wrong < 0.15


def test_bf16_leaves_it_exact(gaussian, generator):
    noisy = torch.randn(1, 1, *SHAPE, generator=generator)
    plain = gaussian.expected(noisy, torch.ones(SHAPE), nothing_known(1), strangers(1))
    with torch.autocast("cpu", torch.bfloat16):
        lowered = gaussian.expected(noisy, torch.ones(SHAPE), nothing_known(1), strangers(1))
    for one, other in zip(plain, lowered, strict=True):
        assert torch.equal(one, other)


def test_independent_voxels_are_shrunk_to_their_variances(generator):
    assert shrinkage(torch.randn(40, 500, generator=generator)) > 0.9


def test_strong_factors_are_hardly_shrunk(volumes):
    assert shrinkage(volumes.flatten(1)) < 0.1


def test_one_volume_tells_no_covariance():
    assert shrinkage(torch.ones(1, 5)) == 1


def test_shrinkage_is_the_published_estimate(generator):
    """Sum of the variances of the entries off the diagonal, over the sum of their squares."""
    rows = torch.randn(12, 5, generator=generator).cumsum(dim=1).double()
    products = rows[:, :, None] * rows[:, None, :]
    off = ~torch.eye(5, dtype=torch.bool)
    of_mean = products.var(dim=0, unbiased=True)[off].sum() / 12
    wanted = of_mean / products.mean(dim=0)[off].square().sum()
    assert shrinkage(rows) == pytest.approx(float(wanted))
