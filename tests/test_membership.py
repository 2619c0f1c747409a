"""The attack by thresholds: against scikit-learn, against chance, and by whole patients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from envoi.membership import membership


def test_the_area_is_scikit_learns():
    draws = np.random.default_rng(0)
    inside, outside = draws.normal(0.5, 1, 80).round(1), draws.normal(0, 1, 50).round(1)
    truth = np.repeat([1, 0], [80, 50])
    wanted = roc_auc_score(truth, np.concatenate([inside, outside]))
    found = membership(inside, outside)
    assert found.auc.value == pytest.approx(wanted)
    assert found.auc.low < wanted < found.auc.high
    assert (found.members, found.others) == (80, 50)
    assert not found.of_patients


def test_a_model_that_remembers_everybody_is_found_out():
    found = membership(np.ones(20), np.zeros(30))
    assert (found.auc.value, found.standing_out) == (1.0, 20)
    assert found.by_chance == pytest.approx(20 / 31)


def test_as_many_stand_out_by_chance_as_is_said():
    draws = np.random.default_rng(1)
    runs = [membership(draws.random(200), draws.random(300)) for _ in range(60)]
    assert np.mean([run.auc.value for run in runs]) == pytest.approx(0.5, abs=0.01)
    mean = np.mean([run.standing_out for run in runs])
    assert mean == pytest.approx(runs[0].by_chance, rel=0.25)
    inside = np.mean([run.auc.low <= 0.5 <= run.auc.high for run in runs])
    assert inside > 0.85


def test_patients_count_once():
    # One patient of many images does not outweigh nine others.
    inside = np.concatenate([np.ones(90), np.zeros(9)])
    groups = np.concatenate([np.zeros(90, int), np.arange(1, 10)])
    found = membership(inside, np.full(10, 0.5), members_of=groups)
    assert found.members == 10
    assert found.of_patients
    assert found.auc.value == pytest.approx(0.1)
    assert found.standing_out == 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_the_order_of_images_does_not_matter(seed, size):
    draws = np.random.default_rng(seed)
    scores, groups = draws.random(12), draws.integers(0, 4, 12)
    order = draws.permutation(12)
    first = membership(scores, scores[:size], members_of=groups)
    again = membership(scores[order], scores[:size], members_of=groups[order])
    assert (first is None) == (again is None)
    if first is not None:
        assert first.auc.value == pytest.approx(again.auc.value)


def test_one_person_on_a_side_tells_nothing():
    assert membership(np.ones(1), np.ones(5)) is None
    assert membership(np.ones(5), np.ones(4), others_of=np.zeros(4, int)) is None
