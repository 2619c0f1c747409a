"""What age and sex do on average, and what it means for the expectation of a volume."""

import math

import pytest
import torch

from envoi.mri.effects import Effects
from envoi.mri.gaussian import Gaussian, Known

SHAPE = (3, 4, 6)
VOXELS = math.prod(SHAPE)
NOTHING = Known(torch.zeros(SHAPE), torch.zeros(SHAPE))


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


@pytest.mark.parametrize("known", [True, False])
def test_people_are_drawn_as_their_age_and_sex_have_it(known, gaussian, persons, generator):
    """Of known people as far from the usual as those learnt from; of others as far as anybody."""
    people = persons[:400] if known else torch.full((400, 2), math.nan)
    drawn = torch.stack([gaussian.draw(one, NOTHING, generator).flatten() for one in people])
    slopes = gaussian.effects.slopes
    usual = gaussian.effects.of(people).nan_to_num() @ slopes
    apart = drawn - usual
    wanted = gaussian.weights.square().sum(dim=0) + gaussian.left
    if not known:
        wanted = wanted + slopes.square().sum(dim=0)
    assert apart.square().mean() == pytest.approx(float(wanted.mean()), rel=0.1)
    off = apart.mean(dim=0) / (wanted / len(people)).sqrt()
    assert off.square().mean() < 6  # 1 is what chance does on average; voxels go together
