"""Rotation from noise to data: its ends, what answers stand for, and an exact walk."""

import math

import pytest
import torch

from envoi.mri.angles import compared, parts, random_times, rotated, schedule, target_of

both = pytest.mark.parametrize("target", ["v", "flow"])


@pytest.fixture
def pair(generator):
    return torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)


@pytest.fixture
def angles():
    return torch.linspace(0, math.pi / 2, 5, dtype=torch.float64)[:, None]


@both
def test_the_true_answer_stands_for_data_and_noise(target, pair, angles):
    data, noise = pair
    angles = angles.expand_as(data)
    state = angles.sin() * data + angles.cos() * noise
    found = parts(state, target_of(data, noise, angles, target), angles, target)
    torch.testing.assert_close(torch.stack(found), pair)


def test_targets_and_states_keep_a_variance_of_one(angles, generator):
    data, noise = torch.randn(2, 5, 100_000, generator=generator, dtype=torch.float64)
    for value in (angles.sin() * data + angles.cos() * noise, target_of(data, noise, angles, "v")):
        torch.testing.assert_close(
            value.var(dim=1), torch.ones(5, dtype=torch.float64), atol=0.02, rtol=0
        )


@pytest.mark.parametrize("share", [0.05, 1.0, 3.0])
def test_every_voxel_turns_from_noise_to_data(share):
    shares = torch.tensor([share], dtype=torch.float64)
    turned = torch.stack([schedule(time / 10, shares) for time in range(11)]).flatten()
    assert turned[0] == 0
    assert turned[-1] == pytest.approx(math.pi / 2, abs=1e-9)
    assert (turned.diff() > 0).all()


def test_noise_has_one_strength_in_units_of_intensity():
    typical, deviation = 0.2, torch.tensor([0.02, 0.2, 0.4], dtype=torch.float64)
    angle = schedule(0.3, deviation / typical)
    # z_t = sin z + cos n, in intensities deviation * z_t / sin = data + noise of this strength:
    strength = deviation * angle.cos() / angle.sin()
    torch.testing.assert_close(strength, strength[0].expand(3))


def test_voxels_that_vary_less_are_lost_in_noise_earlier():
    angle = schedule(0.5, torch.tensor([0.1, 1.0, 2.0]))
    assert angle[0] < angle[1] < angle[2]
    assert angle[1] == pytest.approx(math.pi / 4)


def test_times_lie_on_the_path_and_mostly_in_its_middle(generator):
    times = random_times(20_000, generator)
    assert 0 < times.min() < times.max() < 1
    assert 0.45 < times.median() < 0.55
    assert ((times - 0.5).abs() < 0.25).float().mean() > 0.65  # uniform times would give 0.5


@both
def test_in_evaluation_targets_are_compared_as_v(target, pair, angles):
    """Answers that stand for the same data and noise have the same error."""
    data, noise = pair
    angles = angles.expand_as(data)
    state = rotated(data, noise, angles)
    guess = 0.9 * data  # and the noise that z_t has with it
    rest = (state - angles.sin() * guess) / angles.cos().clamp_min(1e-3)
    said = target_of(guess, rest, angles, target)
    found, wanted = compared(said, state, data, noise, angles, target, learning=False)
    torch.testing.assert_close(found, target_of(guess, rest, angles, "v"), atol=1e-3, rtol=1e-3)
    assert torch.equal(wanted, target_of(data, noise, angles, "v"))
    found, wanted = compared(said, state, data, noise, angles, target, learning=True)
    assert torch.equal(found, said)
    assert torch.equal(wanted, target_of(data, noise, angles, target))
