"""When a job ends early, by what the student does on images that it never learns from."""

import dataclasses

import pytest
import torch

from envoi.checkpoint import Checkpoint
from envoi.networks import build
from envoi.server.bank import Bank
from envoi.server.methods import envoi
from envoi.server.patience import CHECKS, Patience
from envoi.settings import Budget

# With 80 steps every second one is looked at, and the rate destroys what was learned.
BUDGET = Budget(bank_images=40, bank_steps=80, bank_batch=4, bank_rate=0.5, bank_patience=2)


def fit(teachers, *, budget=BUDGET, seed=0, **options):
    student = build("resnet10-small", channels=3, classes=3, seed=0)
    generator = torch.Generator().manual_seed(seed)
    return envoi().fit(teachers, student, budget=budget, generator=generator, **options)


def spent_after(patience, divergences):
    """How many of the divergences are looked at."""
    for number, divergence in enumerate(divergences, start=1):
        patience.note(divergence)
        if patience.spent:
            return number
    return None


@pytest.mark.parametrize(
    ("checks", "divergences", "wanted"),
    [
        (1, [3, 2, 2], 3),
        (2, [3, 4, 2, 3, 4, 1], 5),
        (2, [3, 4, 2, 3, 1, 0.5], None),
        (1, [float("nan")], 1),
        (0, [1, 2, 3, 4], None),
    ],
)
def test_it_is_spent_after_so_many_checks_in_a_row_without_a_better_one(
    checks, divergences, wanted
):
    assert spent_after(Patience(checks, 100), divergences) == wanted


def test_a_job_has_so_many_checks():
    for steps, checks in ((CHECKS, CHECKS), (1500, 39), (3, 3)):
        patience = Patience(1, steps)
        assert sum(patience.is_due(step) for step in range(1, steps + 1)) == checks


def test_without_patience_nothing_is_held_out_or_looked_at():
    patience = Patience(0, 40)
    assert patience.held_out(1000) == 0
    assert not any(patience.is_due(step) for step in range(1, 41))
    assert Patience(1, 40).held_out(1000) == 50
    assert Patience(1, 40).held_out(3) == 1


def test_it_goes_on_from_its_state():
    first, second = Patience(3, 40), Patience(3, 40)
    for divergence in (2.0, 1.0, 1.5, 1.2):
        first.note(divergence)
    second.restore(first.state())
    assert not second.spent
    second.note(1.1)
    assert second.spent


def test_a_job_that_learns_nothing_more_ends(teachers):
    told = []
    fit(teachers, on_step=told.append)
    found = [info.losses["held_out"] for info in told if "held_out" in info.losses]
    checked = [info.step for info in told if "held_out" in info.losses]
    assert checked == list(range(2, len(told) + 1, 2))
    assert len(told) < 80
    assert spent_after(Patience(2, 80), found) == len(found) == len(told) / 2
    patient = []
    fit(teachers, budget=dataclasses.replace(BUDGET, bank_patience=0), on_step=patient.append)
    assert len(patient) == 80
    assert not any("held_out" in info.losses for info in patient)


def test_the_part_that_is_held_out_is_never_learned(teachers, monkeypatch):
    asked, batch = [], Bank.batch

    def noted(bank, index, device):
        asked.append(index)
        return batch(bank, index, device)

    monkeypatch.setattr(Bank, "batch", noted)
    fit(teachers, budget=dataclasses.replace(BUDGET, bank_steps=60, bank_patience=100))
    learned = torch.cat([index for index in asked if len(index) == 4])
    held = torch.cat([index for index in asked if len(index) == 2])
    assert set(learned.tolist()) == set(range(38))
    assert set(held.tolist()) == {38, 39}


@pytest.mark.parametrize("before_the_end", [0, 1, 3])
def test_killed_and_resumed_it_ends_at_the_same_step_with_the_same_bits(
    before_the_end, teachers, tmp_path
):
    told = []
    whole = fit(teachers, on_step=lambda info: told.append(info.step))

    def kill(info):
        if info.step == len(told) - before_the_end:
            raise KeyboardInterrupt

    def checkpoint():
        return Checkpoint(tmp_path / "job", every_seconds=0)

    with pytest.raises(KeyboardInterrupt):
        fit(teachers, on_step=kill, checkpoint=checkpoint())
    again = []
    resumed = fit(
        teachers, seed=9, on_step=lambda info: again.append(info.step), checkpoint=checkpoint()
    )
    assert again == told[len(told) - before_the_end :]
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert one.equal(other)
