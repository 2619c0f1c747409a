import numpy as np
import pytest

from envoi.errors import SettingsError, ShapeError
from envoi.evaluation import bootstrap_interval, evaluate


def share(values):
    """The weighted mean of `values`, as a statistic."""
    column = np.asarray(values, dtype=np.float64)
    return lambda weights: weights @ column / weights.sum(axis=1)


def test_every_resample_draws_as_many_images_as_there_are():
    seen = []

    def statistic(weights):
        seen.append(weights)
        return weights[:, 0] / weights.sum(axis=1)

    bootstrap_interval(statistic, 30, resamples=200)
    drawn = np.concatenate(seen[1:])
    assert drawn.shape == (200, 30)
    np.testing.assert_array_equal(drawn.sum(axis=1), 30)
    assert abs(drawn.mean() - 1) < 1e-12
    assert 0.8 < drawn.var() < 1.1  # multinomial: 1 - 1/n


def test_patients_are_drawn_whole():
    patients = np.repeat([7, 3, 9], [2, 3, 4])
    seen = []

    def statistic(weights):
        seen.append(weights)
        return weights[:, 0] / weights.sum(axis=1)

    bootstrap_interval(statistic, 9, resamples=50, patients=patients)
    drawn = np.concatenate(seen[1:])
    for code in (7, 3, 9):
        columns = drawn[:, patients == code]
        np.testing.assert_array_equal(columns, columns[:, :1].repeat(columns.shape[1], axis=1))
    heads = drawn[:, [0, 2, 5]]
    np.testing.assert_array_equal(heads.sum(axis=1), 3)


def test_patients_with_many_images_widen_the_interval():
    generator = np.random.default_rng(0)
    right = np.repeat(generator.random(40) < 0.7, 25)
    probabilities = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    labels = np.zeros(1000, int)
    labels[-25:] = 1
    alone = evaluate(probabilities, labels).accuracy
    grouped = evaluate(probabilities, labels, patients=np.repeat(np.arange(40), 25)).accuracy
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_intervals_cover_the_truth_about_as_often_as_they_claim():
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(300):
        interval = bootstrap_interval(
            share(generator.random(120) < 0.8), 120, resamples=300, seed=trial
        )
        covered += interval.low <= 0.8 <= interval.high
    assert 0.90 <= covered / 300 <= 0.985


def test_the_interval_agrees_with_the_normal_approximation():
    right = np.arange(2000) < 1400
    interval = bootstrap_interval(share(right), 2000, resamples=4000)
    half = 1.96 * np.sqrt(0.7 * 0.3 / 2000)
    assert interval.value == 0.7
    assert interval.low == pytest.approx(0.7 - half, abs=2e-3)
    assert interval.high == pytest.approx(0.7 + half, abs=2e-3)


def test_blocks_do_not_change_the_draws(monkeypatch):
    right = np.arange(50) < 30
    whole = bootstrap_interval(share(right), 50, resamples=400)
    monkeypatch.setattr("envoi.evaluation.bootstrap.BLOCK_ELEMENTS", 50 * 7)
    assert bootstrap_interval(share(right), 50, resamples=400) == whole


def test_undefined_resamples_are_left_out():
    def sometimes(weights):
        return np.where(weights[:, 0] > 0, 0.5, np.nan)

    interval = bootstrap_interval(sometimes, 5, resamples=100)
    assert (interval.value, interval.low, interval.high) == (0.5, 0.5, 0.5)


def test_the_interval_is_everything_when_no_resample_is_defined():
    def only_the_whole(weights):
        return np.where((weights == 1).all(axis=1), 0.5, np.nan)

    interval = bootstrap_interval(only_the_whole, 40, resamples=100)
    assert (interval.value, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_the_interval_holds_a_biased_estimate():
    def biased(weights):
        return np.where((weights == 1).all(axis=1), 0.1, 0.4)

    interval = bootstrap_interval(biased, 40, resamples=100)
    assert (interval.low, interval.high) == (0.1, 0.4)


def test_bad_arguments_are_refused():
    with pytest.raises(SettingsError, match="at least 1 resample, found 0"):
        bootstrap_interval(share([1.0]), 1, resamples=0)
    with pytest.raises(ShapeError, match=r"each of the 3 images, found shape \(2,\)"):
        bootstrap_interval(share([1, 0, 1]), 3, patients=np.zeros(2, int))
