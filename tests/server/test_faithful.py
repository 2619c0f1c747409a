"""The checks for a faithful FedISCA at the end of METHODS.md section 2."""

import dataclasses
import itertools

import pytest
import torch
from torch.nn import functional

from envoi.networks import build
from envoi.networks.classifier import batch_norm_layers
from envoi.networks.statistics import (
    ChannelStats,
    reading_batch_statistics,
    seen_statistics,
    stored_statistics,
)
from envoi.seeding import torch_generator
from envoi.server.adapt import Adaptation, adapted_networks, adapted_to_path
from envoi.server.distil import distillation_loss, rate_at
from envoi.server.methods.fedisca import fedisca
from envoi.server.methods.job import Job
from envoi.server.synthesis.inversion import Inversion, cycling_targets
from envoi.server.synthesis.losses import statistics_loss, total_variation
from envoi.server.synthesis.view import Looped, Stacked, view_of
from envoi.server.teacher import site_logits
from envoi.settings import Budget
from tests.conftest import make_teachers

BUDGET = Budget(outer_epochs=1, synthesis_steps=20, batch_size=8, student_rate=0.01)


def new_student():
    return build("resnet10-small", channels=3, classes=3, seed=0)


def test_the_full_budget_is_the_papers():
    full = Budget.preset("full")
    assert (full.outer_epochs, full.synthesis_steps, full.batch_size) == (100, 500, 256)
    assert (full.pixel_rate, full.variation_weight, full.statistics_weight) == (0.05, 2.5e-5, 10)
    assert (full.temperature, full.student_rate, full.student_weight_decay) == (20, 1e-3, 5e-4)
    large = Budget.preset("full", size_px=224)
    assert (large.batch_size, large.synthesis_steps, large.jitter_px) == (50, 1000, 30)


def test_targets_cycle_through_the_classes():
    histogram = cycling_targets(256, 7).bincount()
    assert histogram.tolist() == [37, 37, 37, 37, 36, 36, 36]


def test_the_rate_falls_tenfold_at_epochs_50_and_75():
    rates = [rate_at(epoch, Budget.preset("full")) for epoch in (0, 49, 50, 74, 75, 99)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_resnet18_has_the_papers_parameters_and_batch_norm_channels():
    network = build("resnet18", channels=3, classes=8, seed=0)
    layers = batch_norm_layers(network)
    assert sum(p.numel() for p in network.parameters()) == 11_172_936
    assert (len(layers), sum(layer.num_features for layer in layers)) == (20, 4800)


def test_batch_adapted_teachers_do_not_read_running_statistics(teachers, images):
    network = teachers.members[0].network
    before = reading_batch_statistics(network)(images)
    for layer in batch_norm_layers(network):
        layer.running_mean += 3
        layer.running_var *= 5
    assert reading_batch_statistics(network)(images).equal(before)
    reference = network.train()(images)
    torch.testing.assert_close(before, reference)


def test_ema_adapted_teachers_follow_the_sweep_from_realistic_to_noise(teachers):
    network = teachers.members[0].network
    path = [torch.randn(8, 3, 8, 8, generator=torch_generator(n, "path")) for n in range(3)]
    stored = network.bn1.running_mean.clone()
    (twin,) = adapted_to_path([network], path)
    expected = stored.clone()
    for batch in reversed(path):
        expected = 0.9 * expected + 0.1 * network.conv1(batch).mean(dim=(0, 2, 3))
    torch.testing.assert_close(twin.bn1.running_mean, expected)
    assert network.bn1.running_mean.equal(stored)
    assert not twin.training


def test_without_adaptation_the_teachers_answer_themselves(teachers):
    networks = [member.network for member in teachers.members]
    assert adapted_networks(networks, Adaptation.NONE) == networks


def identical(teachers, number):
    members = (teachers.members[0],) * number
    return dataclasses.replace(teachers, members=members)


def test_statistics_of_identical_sites_add_up(teachers):
    def distance(number, *, mean):
        budget = dataclasses.replace(BUDGET, statistics_mean=mean)
        synthesis = Inversion(identical(teachers, number), budget, torch.Generator().manual_seed(0))
        return synthesis.advance()[1]["statistics"]

    torch.testing.assert_close(distance(5, mean=False), 5 * distance(1, mean=False))
    layers = len(stored_statistics(teachers.members[0].network))
    torch.testing.assert_close(distance(5, mean=True), distance(1, mean=False) / layers)


def test_the_statistics_loss_is_the_papers_sum_of_norms():
    seen = [ChannelStats(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 1.0]))]
    stored = [ChannelStats(torch.zeros(2), torch.tensor([1.0, 3.0]))]
    assert statistics_loss(seen, stored).item() == pytest.approx(5.0 + 2.0)
    assert statistics_loss(stored, stored).item() == 0


def test_seen_statistics_are_those_of_the_layers_inputs(teachers, images):
    network = teachers.members[0].network
    with seen_statistics(network) as seen:
        network(images)
    maps = network.conv1(images)
    torch.testing.assert_close(seen[0].mean, maps.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(seen[0].variance, maps.var(dim=(0, 2, 3), correction=0))
    assert [len(stats.mean) for stats in seen] == [
        layer.num_features for layer in batch_norm_layers(network)
    ]


def test_doubling_a_batch_multiplies_variation_by_the_root_of_two(images):
    once, twice = total_variation(images), total_variation(torch.cat([images, images]))
    torch.testing.assert_close(twice, once * 2**0.5)


def test_variation_is_the_sum_of_four_norms():
    image = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]])
    horizontal, vertical = (1 + 9) ** 0.5, (4 + 16) ** 0.5
    assert total_variation(image).item() == pytest.approx(horizontal + vertical + 5 + 1)


def test_distillation_loss_is_hintons():
    student, teacher = torch.randn(2, 4, 3, generator=torch_generator(0, "logits"))
    p, q = (teacher / 20).softmax(1), (student / 20).softmax(1)
    expected = 400 * (p * (p.log() - q.log())).sum(1).mean()
    found = distillation_loss(student, teacher, 20.0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert distillation_loss(teacher, teacher, 20.0).item() == pytest.approx(0, abs=1e-4)


def two_phases(teachers, student, budget, generator):
    """FedISCA as published: all images first, then the distillation over the list."""
    synthesis = Inversion(teachers, budget, generator)
    kept = [synthesis.advance()[0] for _ in range(budget.synthesis_steps)]
    networks = [member.network for member in teachers.members]
    adapted = [reading_batch_statistics(network) for network in networks]
    optimiser = torch.optim.SGD(
        student.train().parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
    )
    for step, batch in enumerate(kept):
        a = step / budget.synthesis_steps
        with torch.no_grad():
            exact, noisy = site_logits(networks, batch).mean(0), site_logits(adapted, batch).mean(0)
        answers = student(batch)
        loss = a * distillation_loss(answers, exact, 20.0) + (1 - a) * distillation_loss(
            answers, noisy, 20.0
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return student, kept


def test_interleaved_equals_two_phases_bit_for_bit(teachers):
    reference, kept = two_phases(teachers, new_student(), BUDGET, torch.Generator().manual_seed(5))
    student = fedisca().fit(
        teachers, new_student(), budget=BUDGET, generator=torch.Generator().manual_seed(5)
    )
    wanted = reference.state_dict()
    assert all(tensor.equal(wanted[name]) for name, tensor in student.state_dict().items())
    assert all(not a.equal(b) for a, b in itertools.pairwise(kept))
    assert len({batch.data_ptr() for batch in kept}) == len(kept)


def test_one_step_of_synthesis_follows_the_published_loss(teachers):
    budget = dataclasses.replace(BUDGET, jitter_px=0)
    synthesis = Inversion(teachers, budget, torch.Generator().manual_seed(3))
    start = synthesis.images.detach().clone().requires_grad_()
    networks = [member.network for member in teachers.members]
    captured = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: captured.append((layer, inputs[0])))
        for network in networks
        for layer in batch_norm_layers(network)
    ]
    logits = torch.stack([network(start) for network in networks]).mean(0)
    for hook in hooks:
        hook.remove()
    distance = sum(
        (u.mean((0, 2, 3)) - layer.running_mean).norm()
        + (u.var((0, 2, 3), correction=0) - layer.running_var).norm()
        for layer, u in captured
    )
    loss = functional.cross_entropy(logits, cycling_targets(8, 3))
    (loss + 2.5e-5 * total_variation(start) + 10 * distance).backward()
    adam = torch.optim.Adam([start], lr=0.05)
    adam.step()
    images, terms = synthesis.advance()
    torch.testing.assert_close(images, start.detach(), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(terms["statistics"], distance.detach())


def test_the_blend_goes_from_noise_adapted_to_exact(teachers):
    method = fedisca()
    budget = dataclasses.replace(BUDGET, synthesis_steps=4)
    job = Job(method, teachers, new_student(), budget, torch.Generator().manual_seed(0))
    networks = [member.network for member in teachers.members]
    adapted = [reading_batch_statistics(network) for network in networks]
    for step, (images, terms) in enumerate(job.path()):
        a = step / 4
        answers = job._student(images).detach()
        exact = distillation_loss(answers, site_logits(networks, images).mean(0), 20.0)
        noisy = distillation_loss(answers, site_logits(adapted, images).mean(0), 20.0)
        torch.testing.assert_close(
            job.learn(images), a * exact + (1 - a) * noisy, atol=1e-4, rtol=1e-3
        )
        job.finish_step(terms)
    assert (a, job.epoch, job.step) == (3 / 4, 1, 0)


def test_each_outer_epoch_starts_from_fresh_noise_and_a_fresh_optimiser(teachers):
    budget = dataclasses.replace(BUDGET, outer_epochs=2, synthesis_steps=2)
    job = Job(fedisca(), teachers, new_student(), budget, torch.Generator().manual_seed(0))
    starts = []
    for _ in range(2):
        path = job.path()
        starts.append(job._synthesis)
        assert not job._synthesis.optimiser.state
        for images, terms in path:
            job.learn(images)
            job.finish_step(terms)
    assert starts[0] is not starts[1]


@pytest.mark.parametrize("architecture", ["resnet10-small", "wrn-16-2"])
def test_stacked_teachers_equal_looped_ones(architecture, images):
    teachers = make_teachers(architecture=architecture)
    networks = [member.network for member in teachers.members]
    start = images.clone().requires_grad_()
    logits, distances = Stacked(networks)(start)
    looped_logits, looped_distances = Looped(networks)(images)
    torch.testing.assert_close(logits, looped_logits, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(distances, looped_distances, atol=1e-6, rtol=1e-6)
    (logits.sum() + distances.sum()).backward()
    assert start.grad.isfinite().all()


def test_teachers_of_several_architectures_are_looped(teachers):
    other = make_teachers(architecture="wrn-16-2").members[2]
    mixed = dataclasses.replace(teachers, members=(*teachers.members[:2], other))
    assert isinstance(view_of(mixed), Looped)


def test_the_student_is_that_of_the_last_step(teachers):
    student, seen = new_student(), []
    made = fedisca().fit(
        teachers,
        student,
        budget=dataclasses.replace(BUDGET, synthesis_steps=4, outer_epochs=2),
        generator=torch.Generator().manual_seed(5),
        on_step=lambda _: seen.append({n: t.clone() for n, t in student.state_dict().items()}),
    )
    assert len(seen) == 8
    assert all(t.equal(seen[-1][n]) for n, t in made.state_dict().items())
