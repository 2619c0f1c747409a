"""Paths from noise to data: their ends, their velocity, and an exact walk."""

import pytest
import torch

from envoi.mri.paths import Path, integrate, random_times

paths = pytest.mark.parametrize("name", ["flow", "cosine"])


@pytest.fixture
def pair(generator):
    return torch.randn(2, 5, 3, generator=generator)


@paths
def test_a_path_begins_with_noise_and_ends_with_data(name, pair):
    data, noise = pair
    path = Path(name)
    torch.testing.assert_close(path.mixed(data, noise, torch.zeros(5)), noise)
    torch.testing.assert_close(path.mixed(data, noise, torch.ones(5)), data, atol=1e-6, rtol=0)


@paths
def test_the_velocity_is_the_derivative_of_the_path(name, pair):
    data, noise = (part.double() for part in pair)
    path, time, small = Path(name), torch.tensor(0.3, dtype=torch.float64), 1e-6
    ahead, behind = (path.mixed(data, noise, time + step) for step in (small, -small))
    torch.testing.assert_close(
        (ahead - behind) / (2 * small), path.velocity(data, noise, time), atol=1e-6, rtol=0
    )


@paths
def test_the_velocity_points_to_the_data(name, pair):
    data, noise = pair
    path, time = Path(name), torch.tensor(0.7)
    mixed, velocity = path.mixed(data, noise, time), path.velocity(data, noise, time)
    torch.testing.assert_close(path.data(mixed, velocity, 0.7), data, atol=1e-5, rtol=0)


@paths
def test_predicted_data_stand_for_the_velocity_that_leads_to_them(name, pair):
    data, noise = pair
    path, times = Path(name), torch.tensor([0.0, 0.2, 0.5, 0.8, 0.99])
    mixed = path.mixed(data, noise, times)
    found = path.towards(mixed, data, times)
    torch.testing.assert_close(found, path.velocity(data, noise, times), atol=1e-3, rtol=1e-3)


def test_the_end_of_the_path_is_never_divided_by_nothing(pair):
    data, noise = pair
    end = torch.ones(5)
    assert Path("flow").towards(noise, data, end, least=0.05).abs().max() < 200
    assert Path("cosine").towards(noise, data, end, least=0.05).isfinite().all()


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_steps_sum_to_exactly_one(steps):
    start = torch.zeros((), dtype=torch.float64)
    assert abs(float(integrate(lambda state, _: torch.ones_like(state), start, steps)) - 1) < 1e-12


def test_the_true_velocity_of_a_straight_path_leads_to_the_data(pair):
    data, noise = pair
    walked = integrate(lambda _, __: data - noise, noise, 13)
    torch.testing.assert_close(walked, data, atol=1e-5, rtol=0)


def test_times_lie_on_the_path_and_mostly_in_its_middle(generator):
    times = random_times(20_000, generator)
    assert 0 < times.min() < times.max() < 1
    assert 0.45 < times.median() < 0.55
    assert ((times - 0.5).abs() < 0.25).float().mean() > 0.65  # uniform times would give 0.5
