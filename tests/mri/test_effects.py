"""What age and sex do on average, and what it means for the expectation of a volume."""

import math

import pytest
import torch

from envoi.mri.effects import Effects
from envoi.mri.gaussian import Gaussian
from envoi.mri.solver import walk

SHAPE = (3, 4, 6)
VOXELS = math.prod(SHAPE)
NOTHING = torch.zeros(1, 2, *SHAPE)


@pytest.fixture
def slopes(generator):
    """Of age and sex, for one standard deviation; symmetric."""
    plain = torch.randn(2, *SHAPE, generator=generator)
    return plain + plain.flip(-1)


@pytest.fixture
def persons(generator):
    """Ages of all kinds, twice as many women as men."""
    ages = 0.3 * torch.randn(600, generator=generator) - 0.4
    sexes = torch.where(torch.rand(600, generator=generator) < 2 / 3, 1.0, -1.0)
    return torch.stack([ages, sexes], dim=1)


@pytest.fixture
def volumes(slopes, persons, generator):
    standard = (persons - persons.mean(dim=0)) / persons.std(dim=0)
    usual = (standard @ slopes.flatten(1)).reshape(-1, *SHAPE)
    return usual + 0.5 * torch.randn(usual.shape, generator=generator)


@pytest.fixture
def gaussian(volumes, persons):
    learned = Gaussian(SHAPE, factors=8)
    learned.learn(volumes, persons)
    return learned


def test_slopes_are_found(volumes, persons, slopes):
    effects = Effects(SHAPE)
    effects.learn(volumes, persons)
    torch.testing.assert_close(effects.slopes, slopes.flatten(1), atol=0.1, rtol=0.05)


def test_people_of_unknown_age_do_not_move_the_slope_of_age(volumes, persons, slopes):
    effects, hidden = Effects(SHAPE), persons.clone()
    hidden[::3, 0] = math.nan
    effects.learn(volumes, hidden)
    # A third of them shows nothing of age but unrest: a slope's deviation is below 0.1.
    torch.testing.assert_close(effects.slopes, slopes.flatten(1), atol=0.4, rtol=0.1)


def test_slopes_of_two_people_are_not_taken_at_their_word():
    effects, volumes = Effects(SHAPE), torch.ones(2, *SHAPE)
    volumes[0] = -1
    effects.learn(volumes, torch.tensor([[0.5, math.nan], [-0.5, math.nan]]))
    torch.testing.assert_close(effects.slopes[0], torch.full((VOXELS,), -2 / 3))


def test_what_all_people_share_has_no_effect(volumes, persons):
    effects, women = Effects(SHAPE), persons.clone()
    women[:, 1] = 1.0
    effects.learn(volumes, women)
    assert not effects.slopes[1].any()
    assert effects.of(torch.tensor([[0.0, -1.0]]))[0, 1].isnan()


def test_bf16_leaves_the_effects_exact(gaussian, persons):
    plain = gaussian.effects.usual(persons)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = gaussian.effects.usual(persons)
    assert torch.equal(plain, lowered)


def test_nobody_is_farther_than_people_go(gaussian):
    ages = gaussian.effects.of(torch.tensor([[40.0, math.nan], [-40.0, math.nan]]))[:, 0]
    assert ages.tolist() == [2.5, -2.5]


def test_of_noise_the_effects_are_expected(gaussian, persons):
    """Before anything is seen, the expectation is the mean of people as old and of the sex."""
    noise = torch.randn(1, 1, *SHAPE)
    data, _ = gaussian.expected(noise, torch.zeros(SHAPE), NOTHING, persons[:1])
    usual = gaussian.effects.of(persons[:1]) @ gaussian.effects.slopes
    torch.testing.assert_close(data.flatten(), usual[0], atol=1e-5, rtol=1e-4)
    nobody = torch.full((1, 2), math.nan)
    data, _ = gaussian.expected(noise, torch.zeros(SHAPE), NOTHING, nobody)
    assert data.abs().max() < 1e-5


@pytest.mark.parametrize("known", [True, False])
def test_people_are_drawn_as_their_age_and_sex_have_it(known, gaussian, persons, generator):
    """Of known people as far from the usual as those learnt from; of others as far as anybody."""
    people = persons[:200] if known else torch.full((200, 2), math.nan)

    def split(state, angle, time):
        del time
        return gaussian.expected(state, angle, NOTHING.expand(200, -1, -1, -1, -1), people)

    start = torch.randn(200, 1, *SHAPE, generator=generator)
    drawn = walk(split, start, torch.ones(SHAPE), 60).flatten(1)
    slopes = gaussian.effects.slopes
    usual = gaussian.effects.of(people).nan_to_num() @ slopes
    spread = (drawn - usual).square().mean(dim=0).mean()
    wanted = gaussian.weights.square().sum(dim=0).mean() + gaussian.left.mean()
    if not known:
        wanted = wanted + slopes.square().sum(dim=0).mean()
    assert spread == pytest.approx(float(wanted), rel=0.15)
