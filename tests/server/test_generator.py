"""Generators under training and their pools: DAFL, DENSE and Co-Boosting on one budget."""

import dataclasses
from itertools import count, pairwise

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from envoi.checkpoint import Checkpoint
from envoi.errors import MethodError
from envoi.server.methods import coboost, dafl, dense, dense_meta
from envoi.server.methods.data_free import DataFree
from envoi.server.synthesis.generator import Continuing, Restarting
from envoi.server.synthesis.objective import (
    BoundaryObjective,
    ResponseObjective,
)
from envoi.server.synthesis.pool import Pool
from envoi.server.synthesis.scene import Synthesis
from envoi.types import ImageSpec
from tests.server.jobs import BUDGET, job_of, new_student, run, scene_of

STEPS = BUDGET.outer_epochs * BUDGET.synthesis_steps
METHODS = (dafl, dense, dense_meta, coboost)


@pytest.fixture
def adams(monkeypatch):
    """Every Adam that is made, in order."""
    made, adam = [], torch.optim.Adam
    monkeypatch.setattr(
        torch.optim,
        "Adam",
        lambda *given, **options: made.append(adam(*given, **options)) or made[-1],
    )
    return made


@pytest.mark.parametrize(
    "start", [Continuing(ResponseObjective()), Restarting(BoundaryObjective())]
)
def test_a_generator_learns_what_it_is_trained_for(start, teachers):
    budget = dataclasses.replace(BUDGET, outer_epochs=1, synthesis_steps=20, batch_size=12)
    if isinstance(start, Restarting):
        start = dataclasses.replace(start, round_steps=20)
    losses = []

    def watched(scene, images, targets):
        loss, terms = start.objective(scene, images, targets)
        losses.append(loss.item())
        return loss, terms

    source = dataclasses.replace(start, objective=watched)(scene_of(teachers, budget=budget))
    for _ in range(20):
        source.advance()
    assert len(losses) == 20
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_dafl_keeps_its_generator_and_never_shows_a_batch_twice(teachers):
    job = job_of(dafl(), teachers)
    seen = []
    for images, _ in run(job):
        seen.append(images)
        network = job._synthesis.network
        assert job._synthesis.optimiser.state[network.exit.bias]["step"] == len(seen)
    assert len(seen) == STEPS
    assert all(not a.equal(b) for a, b in pairwise(seen))


def restarting(method, **changes):
    given = method()
    return dataclasses.replace(given, synthesis=dataclasses.replace(given.synthesis, **changes))


@pytest.mark.parametrize(("round_steps", "rounds"), [(3, [3, 3, 2]), (30, [8]), (1, [1] * 8)])
def test_rounds_divide_the_budgets_steps(round_steps, rounds, teachers, adams):
    played = []
    job = job_of(restarting(dense, round_steps=round_steps), teachers)
    for _, info in run(job):
        played.append(job._synthesis.rounds)
        assert set(info.losses) == {"class_loss", "statistics", "boundary", "distillation"}
    assert played == [number for number, steps in enumerate(rounds, 1) for _ in range(steps)]
    # A fresh optimiser, and so fresh weights and latents, for each round.
    assert [int(next(iter(own.state.values()))["step"]) for own in adams] == rounds
    for own in adams:
        (group,) = own.param_groups
        assert (group["lr"], group["betas"]) == (1e-3, (0.5, 0.999))
        assert group["params"][-1].shape == (6, 256)
        assert own.state[group["params"][-1]]["exp_avg"].any()
    starts = {own.param_groups[0]["params"][0].data_ptr() for own in adams}
    assert len(starts) == len(rounds)


@pytest.mark.parametrize("method", [dense, coboost])
def test_the_pool_grows_by_one_batch_each_round_up_to_its_bound(method, teachers):
    job = job_of(restarting(method, round_steps=2, pool_batches=3), teachers)
    sizes = [len(job._synthesis.pool) for _ in run(job)]
    assert sizes == [6, 6, 12, 12, 18, 18, 18, 18]
    assert job._synthesis.pool.state()["pixels"].dtype == torch.uint8


def test_the_batch_of_the_lowest_loss_is_pooled(teachers):
    order, made = count(), []

    def objective(scene, images, targets):
        made.append(images.detach())
        # The lowest value is that of the second step; the gradient is the same at all.
        return images.sum() * 0 + (5.0, 1.0, 3.0)[next(order)], {}

    budget = dataclasses.replace(BUDGET, outer_epochs=1, synthesis_steps=3)
    source = Restarting(objective)(scene_of(teachers, budget=budget))
    source.advance()
    kept = Pool(teachers.image, batches=1, batch_size=6)
    kept.add(made[1], torch.arange(6) % 3)
    assert source.pool.state()["pixels"].equal(kept.state()["pixels"])


def test_a_learned_start_moves_a_share_of_the_way_to_where_a_round_ended(teachers, adams):
    budget = dataclasses.replace(BUDGET, outer_epochs=1, synthesis_steps=4)
    source = Restarting(BoundaryObjective(), round_steps=2, start_rate=0.25)(
        scene_of(teachers, budget=budget)
    )
    first = source.start.exit.weight.detach().clone()
    for _ in range(4):
        source.advance()
    reached = [own.param_groups[0]["params"][-3] for own in adams]  # before a bias, and latents
    second = torch.lerp(first, reached[0], 0.25)
    third = torch.lerp(second, reached[1], 0.25)
    torch.testing.assert_close(source.start.exit.weight, third)
    assert len({weights.sum().item() for weights in (first, second, third, *reached)}) == 5


def test_a_learned_start_needs_fewer_steps(teachers):
    """The same images are met better in the tenth round than in the first, unless begun anew."""
    wanted = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    budget = dataclasses.replace(BUDGET, outer_epochs=10, synthesis_steps=5)

    def gained(start_rate):
        losses = []

        def objective(scene, images, targets):
            loss = (images - wanted).square().mean()
            losses.append(loss.item())
            return loss, {}

        start = Restarting(objective, round_steps=5, rate=5e-3, start_rate=start_rate)
        source = start(scene_of(teachers, budget=budget))
        for _ in range(50):
            source.advance()
        return min(losses[-5:]) / min(losses[:5])

    assert gained(0.5) < 0.9 < gained(0.0)


def test_dense_begins_anew_and_dense_meta_with_a_start(teachers):
    assert dense().synthesis(scene_of(teachers)).start is None
    assert dense_meta().synthesis(scene_of(teachers)).start is not None
    assert dense_meta().synthesis.objective == dense().synthesis.objective
    assert 6 * dense_meta().synthesis.round_steps == dense().synthesis.round_steps


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_start_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(MethodError, match="0 to 1"):
        Restarting(BoundaryObjective(), start_rate=rate)


@pytest.mark.parametrize("kill_at", [4, 5])
@pytest.mark.parametrize("given", [coboost, dense_meta])
def test_a_job_killed_within_any_round_ends_with_the_same_bits(given, kill_at, teachers, tmp_path):
    method = restarting(given, round_steps=3, pool_batches=2)

    def fit(seed, **options):
        generator = torch.Generator().manual_seed(seed)
        return method.fit(teachers, new_student(), budget=BUDGET, generator=generator, **options)

    def kill(info):
        if info.step == kill_at:
            raise KeyboardInterrupt

    told, told_again = {}, {}
    whole = fit(0, on_step=lambda info: told.update({info.step: info.losses}))
    path = tmp_path / "job"
    with pytest.raises(KeyboardInterrupt):
        fit(0, on_step=kill, checkpoint=Checkpoint(path, every_seconds=0))
    resumed = fit(
        9,
        on_step=lambda info: told_again.update({info.step: info.losses}),
        checkpoint=Checkpoint(path, every_seconds=0),
    )
    wanted = whole.state_dict()
    assert all(tensor.equal(wanted[name]) for name, tensor in resumed.state_dict().items())
    assert told_again == {step: told[step] for step in range(kill_at + 1, STEPS + 1)}


def test_a_pool_forgets_its_oldest_batch_and_keeps_targets_beside_images():
    spec = ImageSpec.of(1, 4)
    pool = Pool(dataclasses.replace(spec, value_range=(-1000.0, 3000.0)), batches=2, batch_size=3)
    for number in range(3):
        pool.add(torch.full((3, 1, 4, 4), number / 2 - 0.5), torch.full((3,), number))
    images, targets = pool.draw(6, torch.Generator())
    assert sorted(targets.tolist()) == [1, 1, 1, 2, 2, 2]
    torch.testing.assert_close(images[:, 0, 0, 0], targets / 2 - 0.5, atol=1.01 / 255, rtol=0)
    assert len(pool.draw(4, torch.Generator())[0]) == 4


@pytest.mark.parametrize("method", METHODS)
def test_each_method_takes_as_many_steps_as_the_budget_has(method, teachers, monkeypatch):
    calls = []
    objective = type(method().synthesis.objective)
    monkeypatch.setattr(
        objective,
        "__call__",
        lambda self, scene, images, targets, own=objective.__call__: (
            calls.append(len(images)) or own(self, scene, images, targets)
        ),
    )
    learned = [len(images) for images, _ in run(job_of(method(), teachers))]
    assert calls == learned == [BUDGET.batch_size] * STEPS


@pytest.mark.parametrize("method", METHODS)
def test_flop_counts_the_whole_job(method, teachers):
    budget = dataclasses.replace(BUDGET, outer_epochs=1, synthesis_steps=2)
    with FlopCounterMode(display=False) as counter:
        method().fit(teachers, new_student(), budget=budget, generator=torch.Generator())
    estimated = method().flop(teachers, new_student(), budget=budget)
    assert estimated == counter.get_total_flops() > 0


@pytest.mark.parametrize("method", METHODS)
def test_every_source_is_a_synthesis_that_lasts(method, teachers):
    source = method().synthesis(scene_of(teachers))
    assert isinstance(source, Synthesis)
    assert source.lasting


def test_an_ablation_is_an_argument(teachers):
    """FedISCA's adaptation on DAFL's images, without a new class."""
    method = DataFree(synthesis=dafl().synthesis)
    student = method.fit(teachers, new_student(), budget=BUDGET, generator=torch.Generator())
    assert all(tensor.isfinite().all() for tensor in student.state_dict().values())
