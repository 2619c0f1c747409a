import dataclasses
import sys

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf

from envoi.errors import DataError, SettingsError
from envoi.site.export import accuracy_as_sent, feature_moments, release
from envoi.site.train import train
from envoi.submission import quantised

ALL = ["class_counts", "feature_moments", "temperature"]


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 30 + [1] * 20 + [2] * 3)
    mixed = rng.normal(0, 1, (53, 8)) @ rng.normal(0, 1, (8, 8))
    return mixed + 5 * labels[:, None], labels


def test_means_and_covariance_agree_with_scikit_learn(features):
    values, labels = features
    means, covariance = feature_moments(values, labels, classes=4, minimum=10)
    told = labels < 2
    for label in (0, 1):
        np.testing.assert_allclose(means[label], values[labels == label].mean(axis=0))
    centred = values[told] - means[labels[told]]
    wanted, shrinkage = ledoit_wolf(centred, assume_centered=True)
    assert 0 < shrinkage < 1
    np.testing.assert_allclose(covariance, wanted, rtol=1e-10)


def test_classes_under_the_minimum_leave_no_trace(features):
    values, labels = features
    means, covariance = feature_moments(values, labels, classes=4, minimum=10)
    assert not means[2:].any()
    values[labels == 2] *= 100
    again = feature_moments(values, labels, classes=4, minimum=10)
    np.testing.assert_array_equal(again[0], means)
    np.testing.assert_array_equal(again[1], covariance)


def test_no_class_at_the_minimum_gives_zeros(features):
    means, covariance = feature_moments(*features, classes=4, minimum=99)
    assert (means.shape, covariance.shape) == ((4, 8), (8, 8))
    assert not means.any()
    assert not covariance.any()


def test_equal_features_have_no_covariance():
    _, covariance = feature_moments(np.ones((6, 3)), np.zeros(6, int), classes=2, minimum=1)
    assert not covariance.any()


def test_a_release_holds_what_the_policy_asks_for(make_images, make_study):
    study = make_study(statistics={"release": ALL, "minimum_class_size": 5})
    images = make_images(labels=[0] * 20 + [1] * 20 + [2] * 3)
    trained = train(images, study=study, seed=1)
    sent = release(trained, images, study=study)
    assert sent.class_counts == (20, 20, 3)
    assert sent.temperature == trained.temperature
    assert sent.feature_means.shape == (3, 128)
    assert not sent.feature_means[2].any()
    assert (torch.linalg.eigvalsh(sent.feature_covariance) > 0).all()
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

    monkeypatch.setattr("envoi.site.export.features_of", never)
    sent = release(trained, images, study=study)
    assert (sent.feature_means, sent.feature_covariance, sent.temperature) == (None, None, None)


def test_features_that_are_not_finite_end_in_one_line(make_images, make_study, monkeypatch):
    study = make_study(statistics={"release": ALL})
    trained = train(make_images(), study=study, seed=1)
    spoilt = torch.full((48, 128), float("inf"))
    monkeypatch.setattr(sys.modules["envoi.site.export"], "features_of", lambda *_: spoilt)
    with pytest.raises(SettingsError, match="feature moments: expected finite features"):
        release(trained, make_images(), study=study)


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
