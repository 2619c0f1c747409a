import numpy as np
import pytest
from scipy.special import softmax as scipy_softmax
from sklearn.metrics import log_loss

from envoi.errors import DataError, SettingsError, ShapeError
from envoi.evaluation import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    softmax,
)


@pytest.fixture
def calibrated():
    """Logits whose softmax is the distribution that the labels were drawn from."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(6000, 4)) * 1.5
    draws = generator.gumbel(size=logits.shape)
    return logits, (logits + draws).argmax(axis=1)


def test_softmax_agrees_with_scipy_and_survives_large_logits():
    logits = np.random.default_rng(0).normal(size=(20, 5)) * 30
    np.testing.assert_allclose(softmax(logits), scipy_softmax(logits, axis=1))
    np.testing.assert_allclose(softmax(logits, temperature=3.0), scipy_softmax(logits / 3, axis=1))
    np.testing.assert_array_equal(softmax(np.array([1e6, 0.0])), [1.0, 0.0])


def test_likelihood_agrees_with_scikit_learn(calibrated):
    logits, labels = calibrated
    expected = log_loss(labels, scipy_softmax(logits / 2, axis=1))
    assert negative_log_likelihood(logits, labels, temperature=2.0) == pytest.approx(expected)


@pytest.mark.parametrize("factor", [0.2, 1.0, 4.0])
def test_the_temperature_is_recovered(calibrated, factor):
    logits, labels = calibrated
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.05)


def test_the_temperature_is_the_best_of_a_fine_grid(calibrated):
    logits, labels = calibrated
    logits, labels = logits[:200] * 2.5, labels[:200]
    grid = np.geomspace(0.05, 20, 4001)
    losses = [negative_log_likelihood(logits, labels, temperature=t) for t in grid]
    assert fit_temperature(logits, labels) == pytest.approx(grid[np.argmin(losses)], rel=2e-3)


def test_it_lowers_the_calibration_error_and_keeps_the_answers(calibrated):
    logits, labels = calibrated
    sure = logits * 3
    fitted = softmax(sure, temperature=fit_temperature(sure, labels))
    assert (fitted.argmax(1) == sure.argmax(1)).all()
    before = expected_calibration_error(softmax(sure), labels)
    assert expected_calibration_error(fitted, labels) < before / 3


def test_adding_a_constant_to_an_image_changes_nothing(calibrated):
    logits, labels = calibrated
    shifted = logits + np.arange(len(logits))[:, None]
    assert fit_temperature(shifted, labels) == pytest.approx(fit_temperature(logits, labels))


def test_a_model_that_is_always_right_keeps_its_temperature():
    assert fit_temperature(np.eye(3), np.arange(3)) == 1.0


def test_a_model_that_says_nothing_keeps_its_temperature():
    assert fit_temperature(np.full((4, 3), 2.0), np.array([0, 1, 2, 0])) == 1.0


def test_a_model_that_is_always_wrong_gets_the_highest_temperature():
    temperature = fit_temperature(np.eye(3) * 5, np.array([1, 2, 0]))
    assert temperature == pytest.approx(20, rel=1e-3)


@pytest.mark.parametrize("function", [fit_temperature, negative_log_likelihood])
def test_bad_input_is_refused(function):
    good = np.zeros((3, 2))
    with pytest.raises(ShapeError, match="an image and two classes"):
        function(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(ShapeError, match="one for each row of logits"):
        function(good, np.zeros(2, int))
    with pytest.raises(DataError, match="NaN or infinity in 3 of 3 rows"):
        function(good + np.nan, np.zeros(3, int))
    with pytest.raises(DataError, match=r"labels in 0..1, found \[4\]"):
        function(good, np.array([0, 4, 1]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperatures_must_be_positive(temperature):
    with pytest.raises(SettingsError, match="a value above 0"):
        softmax(np.zeros(2), temperature=temperature)
    with pytest.raises(SettingsError, match="a value above 0"):
        negative_log_likelihood(np.zeros((1, 2)), np.zeros(1, int), temperature=temperature)
