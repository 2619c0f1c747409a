"""The audit of a site: attacks that succeed where they should, on held-out patients alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from envoi.networks import build
from envoi.settings import TrainingSettings
from envoi.site.audit import SiteAudit, audit
from envoi.site.train import TrainedSite
from envoi.study import StatisticsPolicy, Study
from envoi.types import ImageSet, ImageSpec

COUNT = 60


def study_of(**changes):
    return Study(
        name="Cells",
        classes=("a", "b"),
        image=ImageSpec.of(1, 8),
        architectures=("resnet10-small",),
        minimum_sites=1,
        **changes,
    )


@pytest.fixture(scope="module")
def images():
    draws = np.random.default_rng(0)
    pixels = draws.integers(0, 256, (COUNT, 1, 8, 8), np.uint8)
    return ImageSet(pixels, np.arange(COUNT) % 2, ("a", "b"), np.arange(COUNT) // 2)


def trained_on(images, held, *, steps):
    """A network that learned labels of noise by heart, as far as `steps` go."""
    network = build("resnet10-small", channels=1, classes=2, seed=0).train()
    inside = np.setdiff1d(np.arange(COUNT), held)
    pixels = torch.from_numpy(images.images[inside]).float() / 127.5 - 1
    labels = torch.from_numpy(images.labels[inside])
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(pixels), labels).backward()
        optimiser.step()
    settings = TrainingSettings()
    return TrainedSite(
        "resnet10-small", network.eval(), images.class_counts, 0.5, 1, 1.0, None, settings, held
    )


def test_what_was_learned_by_heart_is_told_and_what_was_not_is_not(images):
    held = np.arange(0, 20)
    fresh = audit(trained_on(images, held, steps=0), images, study=study_of())
    learned = audit(trained_on(images, held, steps=60), images, study=study_of())
    assert fresh.network.auc.low < 0.5 < fresh.network.auc.high
    assert learned.network.auc.value > 0.95
    assert learned.network.standing_out > 15
    assert (learned.network.members, learned.network.others) == (20, 10)  # patients
    assert learned.moments is None
    assert learned.worst == learned.network.auc.value


def test_moments_of_few_images_betray_them(images):
    released = StatisticsPolicy(
        release=("class_counts", "feature_moments"), minimum_covariance_images=2
    )
    trained = trained_on(images, np.arange(0, 20), steps=0)
    told = audit(trained, images, study=study_of(statistics=released)).moments
    assert told.auc.value > 0.9
    hidden = StatisticsPolicy(
        release=("class_counts", "feature_moments"), minimum_covariance_images=1000
    )
    less = audit(trained, images, study=study_of(statistics=hidden)).moments
    assert less.auc.value < told.auc.value


def test_nobody_held_out_is_no_audit(images):
    found = audit(trained_on(images, np.arange(0), steps=0), images, study=study_of())
    assert found == SiteAudit(None, None)
    assert found.worst is None
    assert found.told is None


def test_what_is_told_is_rounded(images):
    found = audit(trained_on(images, np.arange(0, 20), steps=60), images, study=study_of())
    network = replace(found.network, standing_out=1, members=3)
    told = SiteAudit(network, None).told
    assert told.standing_out == 0.33
    assert told.network == round(network.auc.value, 2)
    assert told.worst == told.network
