import dataclasses

import numpy as np
import pytest
import torch

from envoi.errors import DataError
from envoi.site.export import accuracy_as_sent, release
from envoi.site.moments import image_moments
from envoi.site.train import train
from envoi.submission import quantised

ALL = ["class_counts", "feature_moments", "temperature"]


def test_a_release_holds_what_the_policy_asks_for(make_images, make_study):
    study = make_study(statistics={"release": ALL, "minimum_class_size": 5})
    images = make_images(labels=[0] * 20 + [1] * 20 + [2] * 3)
    trained = train(images, study=study, seed=1)
    sent = release(trained, images, study=study)
    assert sent.class_counts == (20, 20, 3)
    assert sent.temperature == trained.temperature
    wanted = image_moments(images, study)
    assert not sent.moments.means[2].any()
    assert torch.equal(sent.moments.means, wanted.means)
    assert torch.equal(sent.moments.deviations, wanted.deviations)
    assert torch.equal(sent.moments.correlations, wanted.correlations)
    assert sent.card.images == 43
    assert sent.card.epochs == 3
    assert sent.card.validation_accuracy == trained.validation_accuracy
    assert sent.card.settings is None
    state = trained.network.state_dict()
    assert set(sent.state) == {name for name in state if "num_batches" not in name}
    assert all(torch.equal(sent.state[name], state[name]) for name in sent.state)


def test_what_the_policy_does_not_ask_for_is_not_computed(make_images, study, monkeypatch):
    images = make_images()
    trained = train(images, study=study, seed=1)

    def never(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr("envoi.site.export.image_moments", never)
    sent = release(trained, images, study=study)
    assert (sent.moments, sent.temperature) == (None, None)


def test_other_settings_than_the_studys_stand_on_the_card(make_images, study):
    images = make_images()
    settings = dataclasses.replace(study.training, epochs=1)
    sent = release(train(images, study=study, settings=settings, seed=1), images, study=study)
    assert sent.card.settings == settings


def test_accuracy_as_sent_is_that_of_the_coarsened_network(make_images, make_study):
    study = make_study(model={"architectures": ["resnet10-small"], "weight_format": "int8"})
    images = make_images(60)
    trained = train(images, study=study, seed=1)
    found = accuracy_as_sent(trained, images, study=study)
    with torch.no_grad():
        trained.network.load_state_dict(quantised(trained.network.state_dict(), "int8"))
        pixels = images.images[trained.validation].astype(np.float32) / 255
        answers = trained.network(torch.from_numpy(pixels - 0.5) / 0.5).argmax(dim=1)
    assert found == np.mean(answers.numpy() == images.labels[trained.validation])
    assert 0 < len(trained.validation) == 15


def test_exact_weights_cost_nothing_and_without_validation_nothing_is_known(
    make_images, make_study, study
):
    images = make_images()
    trained = train(images, study=study, seed=1)
    assert accuracy_as_sent(trained, images, study=study) == trained.validation_accuracy
    half = make_study(model={"architectures": ["resnet10-small"], "weight_format": "fp16"})
    settings = dataclasses.replace(study.training, validation_fraction=0.0)
    blind = train(images, study=half, settings=settings, seed=1)
    assert accuracy_as_sent(blind, images, study=half) is None


def test_other_images_than_the_studys_are_refused(make_images, make_study):
    study = make_study(statistics={"release": ALL})
    trained = train(make_images(), study=study, seed=1)
    with pytest.raises(DataError, match="12 pixels, as the study says"):
        release(trained, make_images(size=10), study=study)
