"""Inversion that begins at half the height and width."""

import dataclasses

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from envoi.checkpoint import Checkpoint
from envoi.errors import SettingsError
from envoi.networks import build
from envoi.server.methods.fedisca import fedisca
from envoi.server.synthesis.inversion import Inversion
from envoi.settings import Budget
from tests.conftest import make_teachers

WHOLE = Budget(outer_epochs=1, synthesis_steps=6, batch_size=6, student_rate=0.01)
COARSE = dataclasses.replace(WHOLE, coarse_share=0.5)


def started(teachers, budget, seed=0):
    return Inversion(teachers, budget, torch.Generator().manual_seed(seed))


def new_student():
    return build("resnet10-small", channels=3, classes=3, seed=0)


def test_the_first_steps_are_those_of_an_inversion_of_small_images(teachers):
    coarse = started(teachers, COARSE)
    small = dataclasses.replace(teachers, image=dataclasses.replace(teachers.image, size_px=4))
    reference = started(small, dataclasses.replace(WHOLE, jitter_px=1))
    for _ in range(3):
        images, terms = coarse.advance()
        wanted, same = reference.advance()
        enlarged = functional.interpolate(wanted, size=(8, 8), mode="bilinear")
        torch.testing.assert_close(images, enlarged)
        assert terms == same


def test_later_steps_start_from_the_enlarged_images_with_a_fresh_optimiser(teachers):
    inversion = started(teachers, COARSE)
    for _ in range(3):
        images, _ = inversion.advance()
    later, _ = inversion.advance()
    moved = (later - images).abs()
    # One step of a fresh Adam moves every pixel by its rate, up or down.
    torch.testing.assert_close(moved, torch.full_like(moved, WHOLE.pixel_rate), atol=1e-3, rtol=0)
    assert inversion.images.shape == (6, 3, 8, 8)


@pytest.mark.parametrize(("share", "steps"), [(0.0, 0), (0.5, 3), (0.4, 2), (1.0, 6)])
def test_the_share_is_one_of_the_steps(share, steps, teachers):
    inversion = started(teachers, dataclasses.replace(WHOLE, coarse_share=share))
    sizes = []
    for _ in range(6):
        assert inversion.advance()[0].shape == (6, 3, 8, 8)
        sizes.append(inversion.images.shape[-1])
    assert sizes == [4] * steps + [8] * (6 - steps)


def test_odd_sizes_are_halved_upwards():
    inversion = started(make_teachers(channels=1, size_px=9), COARSE)
    assert inversion.images.shape == (6, 1, 5, 5)
    for _ in range(4):
        inversion.advance()
    assert inversion.images.shape == (6, 1, 9, 9)


@pytest.mark.parametrize("kill_at", [1, 3, 4])
def test_killed_and_resumed_gives_the_same_bits(kill_at, teachers, tmp_path):
    def fit(seed, **options):
        generator = torch.Generator().manual_seed(seed)
        return (
            fedisca()
            .fit(teachers, new_student(), budget=COARSE, generator=generator, **options)
            .state_dict()
        )

    def kill(info):
        if info.step == kill_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(0, on_step=kill, checkpoint=Checkpoint(tmp_path / "job", every_seconds=0))
    resumed = fit(9, checkpoint=Checkpoint(tmp_path / "job", every_seconds=0))
    assert all(tensor.equal(resumed[name]) for name, tensor in fit(0).items())


def test_it_costs_less_arithmetic(teachers):
    def flop(share):
        budget = dataclasses.replace(WHOLE, coarse_share=share)
        return fedisca().flop(teachers, new_student(), budget=budget)

    assert flop(0.0) > flop(0.4) > flop(1.0)
    budget = dataclasses.replace(WHOLE, coarse_share=0.4)
    with FlopCounterMode(display=False) as counter:
        fedisca().fit(teachers, new_student(), budget=budget, generator=torch.Generator())
    assert counter.get_total_flops() == flop(0.4)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(SettingsError, match="coarse_share"):
        Budget(coarse_share=share)
