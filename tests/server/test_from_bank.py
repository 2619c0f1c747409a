"""The frame of `envoi`: a bank that is made once, and a student that learns from it."""

import copy
import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from envoi.checkpoint import Checkpoint
from envoi.errors import SettingsError
from envoi.networks import build
from envoi.processes import Processes
from envoi.server.bank import Source, filled_bank
from envoi.server.consensus import Consensus
from envoi.server.methods import envoi
from envoi.server.methods.from_bank import FromBank, share_of_rate
from envoi.server.synthesis.mixed import Mixed
from envoi.server.synthesis.moment_images import Drawn, MomentImages, ProceduralImages
from envoi.server.synthesis.refined import Refined
from envoi.settings import Budget
from envoi.transforms import clamped
from tests.conftest import make_teachers

BUDGET = Budget(bank_images=20, bank_steps=6, bank_batch=5, bank_rate=0.01)
CPU = torch.device("cpu")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def new_student():
    return build("resnet10-small", channels=3, classes=3, seed=0)


def fit(teachers, *, method=None, budget=BUDGET, seed=0, **options):
    method = method or envoi()
    return method.fit(teachers, new_student(), budget=budget, generator=seeded(seed), **options)


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(first[key].equal(second[key]) for key in first)


@pytest.mark.parametrize("moments", [True, False])
def test_equal_seeds_give_equal_bits_and_others_do_not(moments):
    teachers = make_teachers(moments=moments)
    first, kept = fit(teachers), []
    for size in range(1, 6):  # where tensors lie in memory must not matter
        kept += [torch.rand(size * 1001) for _ in range(7)]
        assert same(first, fit(teachers))
    assert not first.training
    assert not same(first, fit(teachers, seed=1))


@pytest.mark.parametrize("moments", [True, False])
@pytest.mark.parametrize("matrix_rate", [0.0, 0.02])
@pytest.mark.parametrize("kill_at", [1, 3, 5, 6])
def test_killed_at_any_step_and_resumed_gives_the_same_bits(
    kill_at, matrix_rate, moments, tmp_path
):
    teachers = make_teachers(moments=moments)
    budget = dataclasses.replace(BUDGET, bank_matrix_rate=matrix_rate)
    whole, path = fit(teachers, budget=budget), tmp_path / "job"

    def kill(info):
        if info.step == kill_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            teachers,
            budget=budget,
            on_step=kill,
            checkpoint=Checkpoint(path, every_seconds=0),
        )
    seen = []
    resumed = fit(
        teachers,
        budget=budget,
        seed=99,  # the checkpoint brings the generator and the bank's seed back
        on_step=lambda info: seen.append(info.step),
        checkpoint=Checkpoint(path, every_seconds=0),
    )
    assert same(whole, resumed)
    assert seen == list(range(kill_at + 1, 7))  # a step is saved before it is told


def test_killed_twice_and_while_the_bank_is_filled_gives_the_same_bits(teachers, tmp_path):
    whole, path = fit(teachers), tmp_path / "job"

    def killed_at(step):
        def kill(info):
            if info.step == step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(teachers, on_step=kill, checkpoint=Checkpoint(path, every_seconds=0))

    class Failing:
        def __init__(self, teachers):
            pass

        def draw(self, count, generator):
            raise KeyboardInterrupt

    killed_at(2)
    with pytest.raises(KeyboardInterrupt):
        fit(
            teachers,
            method=dataclasses.replace(envoi(), source=Failing),
            checkpoint=Checkpoint(path, every_seconds=0),
        )
    killed_at(4)
    assert same(whole, fit(teachers, seed=5, checkpoint=Checkpoint(path, every_seconds=0)))


def test_steps_are_told_with_a_finite_loss(teachers):
    seen = []
    fit(teachers, on_step=seen.append)
    assert [(info.phase, info.step, info.steps) for info in seen] == [
        ("envoi", step, 6) for step in range(1, 7)
    ]
    assert all(0 <= info.losses["distillation"] < 1e3 for info in seen)


def test_the_student_learns_to_answer_as_its_teacher(teachers):
    """Of the training's start, not half is left of the divergence on the bank's own images."""
    losses = []
    budget = dataclasses.replace(BUDGET, bank_images=32, bank_steps=60, bank_batch=16)
    fit(teachers, budget=budget, on_step=lambda info: losses.append(info.losses["distillation"]))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


class Noise:
    """A source of noise that fp16 has to round, and that notes how it was asked."""

    def __init__(self, teachers):
        self.image, self.asked = teachers.image, []

    def draw(self, count, generator):
        self.asked.append(count)
        noise = torch.randn(count, 3, 8, 8, generator=generator)
        nobody = torch.full((count,), -1)
        return Drawn(clamped(noise, self.image), nobody, nobody)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 600])
def test_a_bank_holds_the_teachers_answers_on_its_very_images(teachers, count):
    source, teacher = Noise(teachers), Consensus(teachers, moments_weight=0.0)
    bank = filled_bank(source, teacher, count, seeded(), CPU)
    assert bank.images.dtype == torch.float16
    assert bank.images.shape == (count, 3, 8, 8)
    assert bank.answers.shape == (count, 3)
    assert sum(source.asked) == count
    assert max(source.asked) <= 256
    torch.testing.assert_close(teacher(bank.images.float()), bank.answers, atol=1e-4, rtol=1e-4)
    exact = torch.cat([Noise(teachers).draw(n, g).images for g in [seeded()] for n in source.asked])
    assert bank.images.equal(exact.half())
    assert not bank.images.float().equal(exact)  # rounding is real, and answers are of the rounded
    images, answers = bank.batch(torch.tensor([0, count - 1]), CPU)
    assert images.dtype == torch.float32
    assert images.equal(bank.images[[0, -1]].float())
    assert answers.equal(bank.answers[[0, -1]])


def test_answers_are_of_the_rounded_images_exactly(teachers):
    """A teacher that tells rounded pixels from others."""

    class Rounding(nn.Module):
        def forward(self, images):
            return (images - images.half().float()).abs().flatten(1).amax(dim=1, keepdim=True)

    bank = filled_bank(Noise(teachers), Rounding(), 40, seeded(), CPU)
    assert not bank.answers.any()


def test_a_bank_takes_the_memory_that_it_promises(teachers):
    bank = filled_bank(Noise(teachers), Consensus(teachers), 300, seeded(), CPU)
    held = sum(t.untyped_storage().nbytes() for t in (bank.images, bank.answers))
    assert held == 300 * (2 * 3 * 8 * 8 + 4 * 3)


def test_banks_are_those_of_their_seed(teachers):
    source, teacher = MomentImages(teachers), Consensus(teachers)
    first, second, other = (filled_bank(source, teacher, 9, seeded(n), CPU) for n in (0, 0, 1))
    assert first.images.equal(second.images)
    assert first.answers.equal(second.answers)
    assert not first.images.equal(other.images)


@pytest.mark.parametrize("moments", [True, False])
@pytest.mark.parametrize("architecture", ["resnet10-small", "wrn-16-2"])
def test_flop_are_those_of_a_counted_fit(moments, architecture):
    teachers = make_teachers(architecture=architecture, moments=moments)
    told = envoi().flop(teachers, new_student(), budget=BUDGET)
    with FlopCounterMode(display=False) as counter:
        fit(teachers)
    assert told == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_counting_leaves_the_student_as_it_is(teachers):
    student = new_student().train()
    before = copy.deepcopy(student)
    envoi().flop(teachers, student, budget=BUDGET)
    assert same(student, before)
    assert all(parameter.grad is None for parameter in student.parameters())


def test_flop_grow_with_images_and_visits(teachers):
    def flop(**changes):
        budget = dataclasses.replace(BUDGET, **changes)
        return envoi().flop(teachers, new_student(), budget=budget)

    images = flop(bank_images=40) - flop()
    assert flop(bank_images=60) - flop(bank_images=40) == pytest.approx(images)
    # Twice the steps are twice the images learned, and twice the products of Muon's steps.
    assert flop(bank_steps=12) == pytest.approx(flop(bank_batch=10))
    products = flop(bank_matrix_rate=0.02) - flop()
    assert products > 0
    twice = flop(bank_steps=12, bank_matrix_rate=0.02) - flop(bank_steps=12)
    assert twice == pytest.approx(2 * products)


@pytest.mark.parametrize("steps", [10, 100, 12_000])
def test_the_rate_rises_to_its_peak_and_falls_to_zero(steps):
    rates = [share_of_rate(step, steps) for step in range(steps)]
    assert max(rates) == pytest.approx(1, rel=0.02)
    assert max(rates) <= 1
    peak = rates.index(max(rates))
    assert peak == pytest.approx(0.3 * steps, abs=1)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0 < rates[0] < 0.5
    assert 0 < rates[-1] < 80 / steps**2
    assert share_of_rate(steps, steps) == pytest.approx(0)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_the_shortest_jobs_have_a_rate_above_zero(steps):
    assert all(0 < share_of_rate(step, steps) <= 1 for step in range(steps))


def test_the_students_rate_is_the_schedules(teachers, monkeypatch):
    rates = []

    class Noted(torch.optim.AdamW):
        def step(self, *arguments):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*arguments)

    monkeypatch.setattr("torch.optim.AdamW", Noted)
    fit(teachers)
    assert rates == [0.01 * share_of_rate(step, 6) for step in range(6)]


def test_images_come_from_moments_where_there_are_some_and_networks_refine_others():
    silent, telling = make_teachers(moments=False), make_teachers()

    def drawn(teachers, **parts):
        source = envoi(**parts).source(teachers)
        assert isinstance(source, Source)
        return source

    assert isinstance(drawn(telling), MomentImages)
    assert isinstance(drawn(silent), Refined)
    assert isinstance(drawn(telling, moment_images=False), Refined)
    assert isinstance(drawn(silent, refine_steps=0), ProceduralImages)
    assert isinstance(drawn(telling, refine_steps=3), Refined)
    mixed = drawn(telling, mixup=0.5)
    assert isinstance(mixed, Mixed)
    assert isinstance(mixed.source, MomentImages)


def test_the_parts_that_are_left_out_are_left_out(teachers):
    plain = envoi(moments_weight=0.0).teacher(teachers)
    assert plain.closed_form is None
    alone = envoi(networks=False).teacher(teachers)
    assert not alone.operator[:, :3].any()
    assert alone.operator[:, 3].any()
    flat = envoi(prior_power=0.0).teacher(teachers)
    assert not flat.prior.any()
    assert isinstance(envoi(), FromBank)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own
def test_a_compiled_student_learns_the_same_and_is_left_as_it_was():
    def tiny():
        torch.manual_seed(0)
        # No bias before batch norm: its gradient is rounding alone, and Adam would follow it.
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )

    teachers, plain, compiled = make_teachers(), tiny(), tiny()
    for student, wanted in ((plain, False), (compiled, True)):
        budget = dataclasses.replace(BUDGET, bank_compiled=wanted, bank_patience=3)
        envoi().fit(teachers, student, budget=budget, generator=seeded())
    assert not same(plain, tiny())
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, atol=1e-4, rtol=1e-4)


def test_a_compiled_student_is_for_one_process(monkeypatch):
    monkeypatch.setattr("envoi.server.methods.from_bank.current_processes", lambda: Processes(0, 2))
    with pytest.raises(SettingsError, match="bank_compiled"):
        fit(make_teachers(), budget=dataclasses.replace(BUDGET, bank_compiled=True))
