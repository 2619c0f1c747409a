"""Images moved by the network of their site."""

import copy
import dataclasses
import gc
import weakref

import pytest
import torch
from torch.nn import functional

from envoi.networks import build
from envoi.networks.statistics import seen_statistics, stored_statistics
from envoi.server.kept import Held
from envoi.server.methods.envoi import envoi
from envoi.server.synthesis.losses import statistics_loss
from envoi.server.synthesis.moment_images import MomentImages, ProceduralImages
from envoi.server.synthesis.refined import GROUP, Refined
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from tests.conftest import make_teachers

COUNT = 60


def seeded():
    return torch.Generator().manual_seed(0)


def drawn(teachers, source=MomentImages, **settings):
    return Refined(source(teachers), teachers, **settings).draw(COUNT, seeded())


def with_another_network(teachers, place):
    """The same teachers, but for one network's weights."""
    other = make_teachers(((1, 1, 1),) * 5).members[-1]
    members = list(teachers.members)
    members[place] = dataclasses.replace(members[place], kept=other.kept)
    return Teachers(tuple(members), teachers.image)


def test_without_steps_images_are_those_of_the_source(teachers):
    plain = MomentImages(teachers).draw(COUNT, seeded())
    found = drawn(teachers, steps=0)
    assert torch.equal(found.images, plain.images)
    assert torch.equal(found.sites, plain.sites)
    assert torch.equal(found.classes, plain.classes)


def test_an_image_is_moved_by_its_own_site_alone(teachers):
    one, other = drawn(teachers, steps=3), drawn(with_another_network(teachers, 0), steps=3)
    unlike = (one.images != other.images).flatten(1).any(dim=1)
    assert unlike[one.sites == 0].any()
    assert not unlike[one.sites != 0].any()


def test_joint_moves_every_image_by_all(teachers):
    one = drawn(teachers, steps=3, joint=True)
    other = drawn(with_another_network(teachers, 0), steps=3, joint=True)
    assert (one.images != other.images).flatten(1).any(dim=1)[one.sites != 0].any()


def test_some_images_stay_and_none_goes_further_than_the_steps(teachers):
    plain, found = MomentImages(teachers).draw(COUNT, seeded()), drawn(teachers, steps=3)
    way = (found.images - plain.images).flatten(1).abs().max(dim=1).values
    assert (way == 0).any()
    assert way.max() > 0.015  # two steps and more, of 0.01 each
    assert way.max() < 0.032


def test_steps_lead_to_the_class_and_to_the_sites_statistics(teachers):
    plain, moved = drawn(teachers, steps=0), drawn(teachers, steps=40)
    for site, member in enumerate(teachers.members):
        before, after = (
            objective(member.network, found.images[plain.sites == site], plain, site)
            for found in (plain, moved)
        )
        assert after < 0.99 * before


def objective(network, images, plain, site):
    """What a step of inversion descends, but for smoothness."""
    with torch.no_grad(), seen_statistics(network) as seen:
        logits = network(images)
    distance = statistics_loss(seen, stored_statistics(network)) / len(seen)
    error = functional.cross_entropy(logits, plain.classes[plain.sites == site])
    return float(error + Budget.preset("smoke").statistics_weight * distance)


def test_people_are_shown_how_images_come_about_and_where_they_are_moved(teachers):
    source = MomentImages(teachers)
    before = source.stages(COUNT, seeded())
    stages = Refined(source, teachers, steps=30).stages(COUNT, seeded())
    assert [caption for caption, _ in stages[:-1]] == [caption for caption, _ in before]
    caption, moved = stages[-1]
    assert caption == "moved by the networks of sites"
    way = (moved - stages[-2][1]).flatten(1).abs().max(dim=1).values
    assert 0 < way.max() < 0.31


def test_networks_may_stay_in_their_files(teachers, monkeypatch):
    """Read when they are looked at, they move images as those in memory do."""
    living = weakref.WeakSet()
    most = 0

    class Read(Held):
        def network(self):
            nonlocal most
            living.add(network := copy.deepcopy(self.held))
            most = max(most, len(living))
            return network

    members = [
        dataclasses.replace(member, kept=Read(member.network)) for member in teachers.members
    ]
    filed = Teachers(tuple(members), teachers.image)
    refined = Refined(ProceduralImages(teachers), filed, steps=3)
    gc.collect()
    most = 0
    found = refined.draw(5 * GROUP, seeded())
    assert most == 1
    assert len(set(found.sites.tolist())) > 1
    wanted = Refined(ProceduralImages(teachers), teachers, steps=3).draw(5 * GROUP, seeded())
    assert torch.equal(found.images, wanted.images)


def test_neighbours_of_nobody_are_of_one_site(teachers):
    found = Refined(ProceduralImages(teachers), teachers, steps=1).draw(4 * GROUP + 5, seeded())
    groups = found.sites.split(GROUP)
    assert [len(set(group.tolist())) for group in groups] == [1] * 5
    assert len(set(found.sites.tolist())) > 1


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_classes_of_nobody_are_drawn_by_the_power_of_their_counts(power):
    teachers = make_teachers(((10, 90, 0),), moments=False)
    refined = Refined(ProceduralImages(teachers), teachers, steps=0, class_power=power)
    shares = refined.draw(3000, seeded()).classes.bincount(minlength=3) / 3000
    wanted = torch.tensor([0.5, 0.5, 0.0] if power == 0 else [0.1, 0.9, 0.0])
    torch.testing.assert_close(shares, wanted, atol=0.03, rtol=0)


def test_images_of_nobody_get_a_site_and_a_class_that_it_has(teachers):
    found = drawn(teachers, ProceduralImages, steps=1)
    assert (teachers.class_counts[found.sites, found.classes] > 0).all()


def test_sites_that_tell_no_counts_are_all_alike():
    teachers = make_teachers(((0, 0, 0),) * 2, moments=False)
    found = Refined(ProceduralImages(teachers), teachers, steps=1).draw(8 * GROUP, seeded())
    assert set(found.sites.tolist()) == {0, 1}
    assert set(found.classes.tolist()) == {0, 1, 2}


@pytest.mark.parametrize("architecture", ["resnet10-small-gn", "convnet-small"])
def test_a_student_learns_from_refined_images(architecture):
    teachers = make_teachers(architecture=architecture)
    small = dataclasses.replace(Budget.preset("smoke"), bank_images=32, bank_steps=2)

    def student(steps):
        fresh = build(architecture, channels=3, classes=3, seed=0)
        method = envoi(refine_steps=steps)
        return method.fit(teachers, fresh, budget=small, generator=seeded()).state_dict()

    plain, refined = student(0), student(2)
    assert all(weight.isfinite().all() for weight in refined.values())
    assert any(not torch.equal(plain[name], refined[name]) for name in plain)
