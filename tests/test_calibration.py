import numpy as np
import pytest
from scipy.special import softmax

from envoi.calibration import TEMPERATURES, fit_temperature
from envoi.errors import ShapeError


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_behind_the_labels_is_found(temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, 4))
    chances = softmax(logits / temperature, axis=1)
    labels = (chances.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    assert fit_temperature(logits.astype(np.float32), labels) == pytest.approx(
        temperature, rel=0.05
    )


def test_a_class_mix_that_the_logits_lack_is_no_lack_of_confidence():
    """Logits of a flat mix, labels of a skewed one: without the offsets another T looks right."""
    rng = np.random.default_rng(3)
    logits, mix = rng.normal(0, 2, (20_000, 3)), np.array([0.9, 0.08, 0.02])
    chances = softmax(logits / 2 + np.log(mix), axis=1)
    labels = (chances.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    assert fit_temperature(logits, labels, np.log(mix)) == pytest.approx(2, rel=0.05)
    assert fit_temperature(logits, labels, np.log(mix) + 7) == pytest.approx(2, rel=0.05)
    assert fit_temperature(logits, labels) > 3


def test_scaling_the_logits_scales_the_temperature():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(0, 2, (500, 3)), rng.integers(0, 3, 500)
    logits[np.arange(500), labels] += 1.5
    once = fit_temperature(logits, labels)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3 * once, rel=1e-4)


def test_answers_that_do_not_tell_leave_the_classifier_as_it_is():
    assert fit_temperature(5 * np.eye(3), np.arange(3)) == 1.0
    assert fit_temperature(np.zeros((4, 3)), np.zeros(4, dtype=np.int64)) == 1.0


def test_hopeless_answers_stay_within_bounds():
    found = fit_temperature(5 * np.eye(3), np.array([1, 2, 0]))
    assert found == pytest.approx(TEMPERATURES[1], rel=0.01)


@pytest.mark.parametrize(("images", "labels"), [(0, 0), (4, 3)])
def test_images_and_labels_must_fit(images, labels):
    with pytest.raises(ShapeError, match="one image at least, and one label for each"):
        fit_temperature(np.zeros((images, 3)), np.zeros(labels, dtype=np.int64))
