"""DDPM: its betas, and a walk back with the true noise."""

import numpy as np
import pytest
import torch

from envoi.mri.diffusion import TIMES, Diffusion


def test_all_times_have_the_papers_betas():
    np.testing.assert_allclose(Diffusion()._betas, np.linspace(1e-4, 0.02, 1000), rtol=1e-9)


def test_fewer_times_keep_the_ends_and_the_products():
    some, every = Diffusion(25), Diffusion()
    assert (some.times[0], some.times[-1]) == (0, TIMES - 1)
    np.testing.assert_allclose(np.cumprod(1 - some._betas), every._signal[some.times])


def test_noise_at_the_last_time_hides_the_data(generator):
    data, noise = torch.ones(4, 3), torch.randn(4, 3, generator=generator)
    last = Diffusion().noised(data, noise, torch.full((4,), TIMES - 1))
    torch.testing.assert_close(last, noise, atol=0.01, rtol=0)


@pytest.mark.parametrize("visited", [1000, 50])
def test_the_true_noise_leads_back_to_the_data(visited, generator):
    diffusion = Diffusion(visited)
    data = torch.linspace(-1, 1, 12).reshape(3, 4)
    state = torch.randn(3, 4, generator=generator)
    for index in reversed(range(visited)):
        signal = float(diffusion._signal[index])
        noise = (state - signal**0.5 * data) / (1 - signal) ** 0.5
        state = diffusion.before(state, noise, index, generator)
    torch.testing.assert_close(state, data, atol=1e-4, rtol=0)


def test_what_the_noise_points_to_is_clipped(generator):
    diffusion = Diffusion(10)
    state = torch.full((2, 2), 5.0)
    step = diffusion.before(state, torch.zeros(2, 2), 0, generator)
    torch.testing.assert_close(step, torch.ones(2, 2), atol=1e-3, rtol=0)


@pytest.mark.parametrize("visited", [1000, 25])
def test_a_perfect_network_leaves_no_grain_however_few_times_it_is_asked(visited, generator):
    """Of data N(0, 0.02^2) the best prediction of noise is known."""
    diffusion, spread = Diffusion(visited), 0.02
    state = torch.randn(20_000, generator=generator)
    for index in reversed(range(visited)):
        signal = float(diffusion._signal[index])
        share = (1 - signal) ** 0.5 / (signal * spread**2 + 1 - signal)
        state = diffusion.before(state, share * state, index, generator)
    assert float(state.std()) < 1.1 * spread


def test_all_times_have_the_papers_variance_and_few_have_the_posteriors():
    every, some = Diffusion(), Diffusion(25)
    np.testing.assert_array_equal(every._variances, every._betas)
    assert some._variances[0] == 0
    assert (some._variances[1:] < some._betas[1:]).all()
