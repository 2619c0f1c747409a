"""The published losses of a generator, against independent computations."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from envoi.networks.classifier import batch_norm_layers
from envoi.server.synthesis.answer_losses import (
    activation_loss,
    adversarial_loss,
    boundary_loss,
    divergences,
    hard_sample_loss,
    information_loss,
    one_hot_loss,
)
from envoi.server.synthesis.objective import (
    BoundaryObjective,
    HardSampleObjective,
    ResponseObjective,
)
from envoi.server.synthesis.view import Stacked
from tests.server.jobs import new_student, scene_of, some_logits


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


def test_information_loss_has_a_gradient_where_no_image_is_of_some_class():
    logits = torch.tensor([[0.0, -200.0, 1.0], [0.0, -200.0, 0.0]], requires_grad=True)
    loss = information_loss(logits)
    loss.backward()
    p = np.float64(logits.detach().double().softmax(1).mean(0).numpy())
    assert loss.item() == pytest.approx((p * np.log10(p)).sum(), rel=1e-5)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[:, 0].abs().min() > 0


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
