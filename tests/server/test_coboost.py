"""What Co-Boosting adds: learned site weights and perturbed images."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from envoi.errors import MethodError
from envoi.server.adapt import Adaptation
from envoi.server.learned import (
    LearnedWeighting,
    LearnedWeights,
    projected,
    weight_gradient,
    weighted_logits,
)
from envoi.server.methods import coboost
from envoi.server.perturb import Direction, Perturbation, along_random_direction
from envoi.server.synthesis.answer_losses import (
    divergences,
)
from tests.server.jobs import job_of, run, scene_of, some_logits


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
