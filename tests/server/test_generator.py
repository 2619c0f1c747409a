"""The published ingredients of DAFL, DENSE and Co-Boosting, against independent computations."""

import dataclasses
import math
from itertools import count, pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from envoi.checkpoint import Checkpoint
from envoi.errors import MethodError
from envoi.networks import build
from envoi.networks.classifier import batch_norm_layers
from envoi.seeding import torch_generator
from envoi.server.adapt import Adaptation
from envoi.server.learned import (
    LearnedWeighting,
    LearnedWeights,
    projected,
    weight_gradient,
    weighted_logits,
)
from envoi.server.methods import coboost, dafl, dense
from envoi.server.methods.data_free import DataFree
from envoi.server.methods.job import Job
from envoi.server.perturb import Direction, Perturbation, along_random_direction
from envoi.server.synthesis.answer_losses import (
    activation_loss,
    adversarial_loss,
    boundary_loss,
    divergences,
    hard_sample_loss,
    information_loss,
    one_hot_loss,
)
from envoi.server.synthesis.generator import Continuing, Restarting
from envoi.server.synthesis.objective import (
    BoundaryObjective,
    HardSampleObjective,
    ResponseObjective,
)
from envoi.server.synthesis.pool import Pool
from envoi.server.synthesis.scene import Scene, Synthesis
from envoi.server.synthesis.view import Stacked
from envoi.server.teacher import mean_logits
from envoi.settings import Budget
from envoi.types import ImageSpec

BUDGET = Budget(outer_epochs=2, synthesis_steps=4, batch_size=6, student_rate=0.01)
STEPS = BUDGET.outer_epochs * BUDGET.synthesis_steps
METHODS = (dafl, dense, coboost)


def new_student():
    return build("resnet10-small", channels=3, classes=3, seed=0)


def scene_of(teachers, **changes):
    given = {
        "student": new_student().train(),
        "weighting": mean_logits,
        "budget": BUDGET,
        "generator": torch.Generator().manual_seed(4),
    }
    return Scene(teachers, **{**given, **changes})


def job_of(method, teachers, budget=BUDGET):
    return Job(method, teachers, new_student(), budget, torch.Generator().manual_seed(0))


def run(job):
    """All steps of a job, one synthesis step and one student step each."""
    while job.epoch < BUDGET.outer_epochs:
        for images, terms in job.path():
            terms["distillation"] = job.learn(images)
            yield images, job.finish_step(terms)


def some_logits(name, *shape):
    return 3 * torch.randn(*shape, generator=torch_generator(0, name))


# The losses


def test_one_hot_loss_is_cross_entropy_to_the_most_probable_class():
    logits = some_logits("a", 5, 4)
    wanted = -np.log(logits.double().softmax(1).numpy().max(axis=1)).mean()
    assert one_hot_loss(logits).item() == pytest.approx(wanted, rel=1e-5)


def test_activation_loss_is_minus_the_mean_absolute_feature():
    assert activation_loss(torch.tensor([[1.0, -3.0], [0.0, 4.0]])).item() == -2


def test_information_loss_is_lowest_for_uniform_predictions_and_zero_for_one_class():
    sure = 100 * torch.eye(4)
    assert information_loss(sure).item() == pytest.approx(-math.log10(4))
    assert information_loss(sure[:1].expand(6, 4)).item() == pytest.approx(0, abs=1e-6)
    logits = some_logits("a", 5, 4)
    p = logits.double().softmax(1).numpy().mean(axis=0)
    assert information_loss(logits).item() == pytest.approx((p * np.log10(p)).sum(), rel=1e-5)


def test_divergences_are_kullback_leiblers():
    teacher, student = some_logits("t", 5, 4), some_logits("s", 5, 4)
    p, q = teacher.double().softmax(1).numpy(), student.double().softmax(1).numpy()
    wanted = (p * np.log(p / q)).sum(axis=1)
    np.testing.assert_allclose(divergences(teacher, student).numpy(), wanted, rtol=1e-4)
    assert adversarial_loss(teacher, student).item() == pytest.approx(-wanted.mean(), rel=1e-4)


def test_the_boundary_term_counts_only_images_on_which_the_answers_differ():
    teacher = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    disputed = divergences(teacher, student)[1]
    torch.testing.assert_close(boundary_loss(teacher, student), -disputed / 3)
    assert boundary_loss(teacher[[0, 2]], student[[0, 2]]).item() == 0


def test_hard_images_count_more_and_the_weight_is_not_differentiated():
    logits = torch.tensor([[5.0, 0.0], [0.0, 1.0]], requires_grad=True)
    targets = torch.tensor([0, 0])
    p = logits.detach().softmax(1)[:, 0]
    loss = hard_sample_loss(logits, targets)
    torch.testing.assert_close(loss.detach(), -((1 - p) * p.log()).mean())
    loss.backward()
    one_hot = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    wanted = (1 - p)[:, None] * (logits.detach().softmax(1) - one_hot) / 2
    torch.testing.assert_close(logits.grad, wanted)


# The objectives


def hooked_answers(teachers, images):
    """Logits, features and batch-norm distances of each site, by hooks of the test's own."""
    logits, features, distances = [], [], []
    for member in teachers.members:
        seen = []

        def keep(layer, given, seen=seen):
            seen.append((layer, given[0]))

        hooks = [
            layer.register_forward_pre_hook(keep)
            for layer in (*batch_norm_layers(member.network), member.network.fc)
        ]
        logits.append(member.network(images).detach())
        for hook in hooks:
            hook.remove()
        *norms, (_, feature) = seen
        features.append(feature)
        distances.append(
            sum(
                (u.mean((0, 2, 3)) - layer.running_mean).norm()
                + (u.var((0, 2, 3), correction=0) - layer.running_var).norm()
                for layer, u in norms
            )
        )
    return torch.stack(logits).mean(0), features, torch.stack(distances)


def test_each_objective_is_the_published_sum(teachers, images):
    scene = scene_of(teachers)
    targets = torch.arange(12) % 3
    logits, features, distances = hooked_answers(teachers, images)
    student = new_student().eval()(images)
    response = (
        one_hot_loss(logits)
        - 0.1 * torch.stack([own.abs().mean() for own in features]).mean()
        + 5 * information_loss(logits)
    )
    boundary = functional.cross_entropy(logits, targets) + distances.mean()
    boundary = boundary + 0.5 * boundary_loss(logits, student)
    hard = hard_sample_loss(logits, targets) + adversarial_loss(logits, student)
    for objective, wanted in (
        (ResponseObjective(), response),
        (BoundaryObjective(), boundary),
        (HardSampleObjective(), hard),
    ):
        torch.testing.assert_close(objective(scene, images, targets)[0], wanted, rtol=1e-4, atol=0)


@pytest.mark.parametrize("objective", [BoundaryObjective(), HardSampleObjective()])
def test_an_objective_reads_the_student_and_leaves_it_as_it_was(objective, teachers, images):
    scene = scene_of(teachers)
    before = {name: tensor.clone() for name, tensor in scene.student.state_dict().items()}
    loss, _ = objective(scene, images.clone().requires_grad_(), torch.arange(12) % 3)
    assert scene.student.training
    assert all(tensor.equal(before[name]) for name, tensor in scene.student.state_dict().items())
    with torch.no_grad():
        scene.student.fc.weight.mul_(-20)
    changed, _ = objective(scene, images, torch.arange(12) % 3)
    assert changed.item() != pytest.approx(loss.item(), abs=1e-3)


def test_stacked_teachers_give_an_objective_the_same_gradient(teachers, images):
    looped, stacked = scene_of(teachers), scene_of(teachers)
    stacked.__dict__["view"] = Stacked([member.network for member in teachers.members])
    found = []
    for scene in (looped, stacked):
        batch = images.clone().requires_grad_()
        loss, _ = BoundaryObjective()(scene, batch, torch.arange(12) % 3)
        found.append((loss.detach(), *torch.autograd.grad(loss, [batch])))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


# The syntheses


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
def test_rounds_divide_the_budgets_steps(round_steps, rounds, teachers, monkeypatch):
    played, adams = [], []
    adam = torch.optim.Adam
    method = restarting(dense, round_steps=round_steps)
    job = job_of(method, teachers)
    monkeypatch.setattr(
        torch.optim,
        "Adam",
        lambda *given, **options: adams.append(adam(*given, **options)) or adams[-1],
    )
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


@pytest.mark.parametrize("kill_at", [4, 5])
def test_a_job_killed_within_any_round_ends_with_the_same_bits(kill_at, teachers, tmp_path):
    method = restarting(coboost, round_steps=3, pool_batches=2)

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
    assert told_again == {step: told[step] for step in range(kill_at, STEPS + 1)}


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


# Learned site weights


def test_weight_gradients_equal_finite_differences():
    logits, targets = some_logits("sites", 3, 5, 4).double(), torch.tensor([0, 1, 2, 3, 0])
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    found = weight_gradient(logits, weights, targets)
    for site in range(3):
        step = 1e-6 * torch.eye(3, dtype=torch.float64)[site]
        high, low = (
            functional.cross_entropy(weighted_logits(logits, w / w.sum()), targets)
            for w in (weights + step, weights - step)
        )
        assert found[site].item() == pytest.approx((high - low).item() / 2e-6, rel=1e-4, abs=1e-8)
    assert (found * weights).sum().item() == pytest.approx(0, abs=1e-12)


def test_weights_are_clamped_and_sum_to_one():
    torch.testing.assert_close(
        projected(torch.tensor([-0.2, 0.5, 1.5])), torch.tensor([0, 1, 2]) / 3
    )
    assert projected(torch.tensor([-1.0, 0.0])).tolist() == [0.5, 0.5]


def test_a_site_that_answers_right_gains_and_one_that_answers_wrong_loses():
    targets = torch.arange(6) % 3
    right = 4 * functional.one_hot(targets, 3).float()
    sites = torch.stack([right, -right, right / 2])
    learned = LearnedWeighting(3, LearnedWeights())
    counts = torch.zeros(3, 3)
    torch.testing.assert_close(learned(sites, counts), sites.mean(0))
    learned.learn(sites, targets)
    wanted = torch.tensor([1 / 3 + 0.01, 1 / 3 - 0.01, 1 / 3 + 0.01]) / 1.01
    torch.testing.assert_close(learned.weights, wanted)
    for _ in range(120):
        learned.learn(sites, targets)
    assert learned.weights[1].item() == 0
    assert learned.weights[0] > 0.8
    assert learned.weights.sum().item() == pytest.approx(1)


def test_the_rate_decays_from_round_to_round():
    targets = torch.arange(6) % 3
    right = functional.one_hot(targets, 3).float()
    sites = torch.stack([right, -right])
    learned = LearnedWeighting(2, LearnedWeights(round_steps=2, decay=0.5))
    gains = []
    for _ in range(5):
        before = learned.weights[0].item()
        learned.learn(sites, targets)
        gains.append(learned.weights[0].item() - before)
    assert gains == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025], abs=1e-6)


def test_coboost_learns_weights_on_the_wanted_classes_and_distils_with_them(teachers):
    job = job_of(coboost(), teachers)
    for number, _ in enumerate(run(job), start=1):
        assert job._weighting.steps == number
    assert not job._weighting.weights.equal(torch.full((3,), 1 / 3))
    logits = some_logits("sites", 3, 5, 3)
    wanted = weighted_logits(logits, job._weighting.weights)
    assert job._scene.combined(logits).equal(wanted)


# Perturbation


def test_a_perturbation_towards_the_student_raises_the_divergence(teachers, images):
    scene = scene_of(teachers)

    def disagreement(batch):
        answers = torch.stack([member.network(batch) for member in teachers.members]).mean(0)
        return divergences(answers, scene.student_answers(batch)).sum().item()

    moved = Perturbation(Direction.STUDENT)(scene, images)
    torch.testing.assert_close((moved - images).abs().max(), torch.tensor(8 / 255))
    assert disagreement(moved) > disagreement(images)
    assert disagreement(2 * images - moved) < disagreement(images)


def test_a_perturbation_along_the_output_is_another_one_each_time(teachers, images):
    scene = scene_of(teachers)
    first, second = (Perturbation()(scene, images) for _ in range(2))
    assert not first.equal(second)
    for moved in (first, second):
        torch.testing.assert_close((moved - images).abs().max(), torch.tensor(8 / 255))


def test_the_random_direction_weighs_probabilities_uniformly_between_minus_one_and_one():
    certain = 1e4 * torch.eye(3)[torch.zeros(2000, dtype=torch.int64)]
    drawn = [
        along_random_direction(certain[:1], 4.0, generator).item()
        for generator in [torch.Generator().manual_seed(1)]
        for _ in range(2000)
    ]
    assert -1 <= min(drawn) < -0.98
    assert 0.98 < max(drawn) <= 1
    assert np.mean(drawn) == pytest.approx(0, abs=0.05)


def test_the_student_learns_from_perturbed_images_and_the_pool_keeps_its_own(teachers):
    moved = []

    class Recorder(Perturbation):
        def __call__(self, scene, images):
            moved.append((images, super().__call__(scene, images)))
            return moved[-1][1]

    job = job_of(dataclasses.replace(coboost(), perturbation=Recorder()), teachers)
    plain = job_of(dataclasses.replace(coboost(), perturbation=None), teachers)
    pools = []
    for own in (job, plain):
        for images, terms in own.path():
            own.learn(images)
            own.finish_step(terms)
            pools.append(own._synthesis.pool.state()["pixels"])
            break
    assert pools[0].equal(pools[1])
    assert not job._student.conv1.weight.equal(plain._student.conv1.weight)


def test_learned_weights_need_images_one_step_at_a_time():
    with pytest.raises(MethodError, match="coboost: expected adaptation 'batch' or 'none'"):
        dataclasses.replace(coboost(), adaptation=Adaptation.EMA)


def test_an_ablation_is_an_argument(teachers):
    """FedISCA's adaptation on DAFL's images, without a new class."""
    method = DataFree(synthesis=dafl().synthesis)
    student = method.fit(teachers, new_student(), budget=BUDGET, generator=torch.Generator())
    assert all(tensor.isfinite().all() for tensor in student.state_dict().values())
