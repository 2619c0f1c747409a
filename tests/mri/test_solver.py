"""From noise to data: the ends, an exact walk, and how much of a spread few steps keep."""

import math
from itertools import pairwise

import pytest
import torch

from envoi.mri.angles import parts, target_of
from envoi.mri.solver import step_times, walk

both = pytest.mark.parametrize("target", ["v", "flow"])


@pytest.fixture
def pair(generator):
    return torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)


@both
@pytest.mark.parametrize("steps", [1, 13])
def test_true_answers_lead_to_the_data(target, steps, pair):
    data, noise = pair
    share = torch.tensor([[0.1], [0.5], [1.0], [2.0], [1.5]], dtype=torch.float64).expand(5, 3)

    def split(state, angle, time):
        torch.testing.assert_close(state, angle.sin() * data + angle.cos() * noise)
        return parts(state, target_of(data, noise, angle, target), angle, target)

    torch.testing.assert_close(walk(split, noise, share, steps), data)


def drawn_spread(spread, steps):
    """Of numbers whose deviation is `spread`, drawn by what their distribution tells exactly."""

    def split(state, angle, time):
        del time
        sine, cosine = angle.sin(), angle.cos()
        data = state * sine * spread**2 / (sine.square() * spread**2 + cosine.square())
        return data, (state - sine * data) / cosine

    one = torch.ones((), dtype=torch.float64)
    return float(walk(split, one, one, steps))


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0, 9.0])
def test_few_steps_keep_the_spread(spread):
    """9 is the size of brains: the coarse covariance's first factor."""
    assert drawn_spread(spread, 20) == pytest.approx(spread, rel=0.05)
    assert drawn_spread(spread, 80) == pytest.approx(spread, rel=0.01)


def test_it_is_of_second_order():
    """Of a large spread, whose error begins early, twice the steps leave a quarter."""
    errors = [1 - drawn_spread(9.0, steps) / 9.0 for steps in (40, 80, 160)]
    for coarse, fine in pairwise(errors):
        assert 0 < fine < coarse / 3.5


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_steps_lead_from_noise_to_data(steps):
    times = step_times(steps)
    assert len(times) == steps + 1
    assert (times[0], times[-1]) == (0, 1)
    lengths = [later - time for time, later in pairwise(times)]
    assert lengths[0] == min(lengths)
    assert math.isfinite(drawn_spread(1.0, steps))
