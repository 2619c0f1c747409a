"""Each metric gets worse on the control that is made for it."""

import dataclasses
import json

import numpy as np
import pytest

from envoi.errors import DataError, SettingsError, ShapeError
from envoi.evaluation.volumes import EvaluationSettings, compare_volumes
from tests.evaluation.phantoms import SPACING_MM, heads

pytestmark = pytest.mark.slow

SETTINGS = EvaluationSettings(
    spacing_mm=SPACING_MM, pairs=6, extractor_steps=60, resamples=100, borders=(9, 18, 27)
)
CONTROLS = (
    "blurred",
    "noisy",
    "shuffled",
    "seamed",
    "seamed_anywhere",
    "shrunk",
    "collapsed",
    "copied",
)


@pytest.fixture(scope="module")
def told():
    """Scores of real-looking volumes, and the steps that were told."""
    steps = []
    scores = compare_volumes(
        heads(10), heads(6, seed=1), heads(7, seed=2), SETTINGS, on_step=steps.append
    )
    return scores, steps


@pytest.fixture(scope="module")
def scores(told):
    return told[0]


@pytest.fixture(scope="module")
def real(scores):
    return scores.held_out


@pytest.fixture(scope="module")
def control(scores):
    return {one.name: one for one in scores.controls}


def distances(row, extractor):
    return np.array([one.distance for one in row.frechet if one.extractor == extractor])


def effect(row, region):
    return next(one.effect for one in row.anatomy if one.region == region)


def test_rows_are_named_and_in_order(scores, told):
    assert [row.name for row in scores.rows] == ["synthetic", "held-out", *CONTROLS]
    assert [row.volumes for row in scores.rows] == [7, *[6] * 9]
    assert (scores.training_volumes, scores.shape) == (10, (36, 40, 36))
    assert (scores.borders, scores.seed, scores.spacing_mm) == ((9, 18, 27), 0, SPACING_MM)
    phases = [info.phase for info in told[1]]
    assert phases.count("self_trained") == 60
    assert phases.count("compare") == 10


def test_rows_are_compared_in_groups_of_one_size(scores):
    assert {one.group_volumes for row in scores.rows for one in row.frechet} == {6}
    assert {one.groups for row in scores.rows for one in row.frechet} == {1}


def test_scores_survive_json(scores):
    text = json.dumps(dataclasses.asdict(scores), allow_nan=False)
    assert json.loads(text)["held_out"]["copies"][1]["features"].startswith("self_trained")


@pytest.mark.parametrize("extractor", ["random_conv", "self_trained"])
@pytest.mark.parametrize("name", ["blurred", "shrunk"])
def test_frechet_distances_find_what_looks_different(real, control, extractor, name):
    assert (distances(control[name], extractor) > 1.5 * distances(real, extractor)).all()


def test_frechet_distances_find_noise(real, control):
    wrong = distances(control["noisy"], "random_conv")
    assert (wrong > 1.5 * distances(real, "random_conv")).all()


@pytest.mark.parametrize("extractor", ["random_conv", "self_trained"])
def test_shuffled_slices_look_real_in_their_own_plane_alone(real, control, extractor):
    ours, theirs = distances(control["shuffled"], extractor), distances(real, extractor)
    assert ours[0] == pytest.approx(theirs[0])
    assert (ours[1:] > 2 * theirs[1:]).all()


def test_jumps_and_spectrum_find_shuffled_slices_along_the_depth(real, control):
    wrong = control["shuffled"].through_plane
    assert wrong.jumps["depth"] > 3 * real.through_plane.jumps["depth"]
    assert wrong.jumps["width"] == pytest.approx(real.through_plane.jumps["width"])
    assert wrong.spectrum[-1].ratio > 1.5 * real.through_plane.spectrum[-1].ratio


def test_seams_are_found(real, control):
    assert control["seamed"].through_plane.seams > real.through_plane.seams + 0.2
    wrong = control["seamed_anywhere"].through_plane
    assert wrong.seams < real.through_plane.seams + 0.1  # at fixed slices nothing is seen of it
    for found in (wrong, control["seamed"].through_plane):
        assert found.seams_anywhere > 1.5 * real.through_plane.seams_anywhere


def test_discrepancies_find_another_size(real, control):
    for ours, theirs in zip(control["shrunk"].discrepancies, real.discrepancies, strict=True):
        assert ours.squared > theirs.squared + 1e-4
        assert ours.squared > 2 * abs(theirs.squared)


def test_tissue_finds_smaller_brains(real, control):
    for region in ("brain", "grey", "white"):
        assert effect(control["shrunk"], region).high < -0.8
        assert effect(real, region).low < 0.8


def test_similarity_finds_one_volume_over_and_over(real, control):
    assert control["collapsed"].similarity.mean > 0.98 > real.similarity.mean + 0.01


def test_copies_are_found_and_other_people_are_none(scores, real, control):
    for found in control["copied"].copies:
        assert found.copied >= 5
        assert [one.training for one in found.neighbours] == list(range(6))
        assert all(one.flipped for one in found.neighbours)
    for found in (*real.copies, *scores.synthetic.copies):
        assert found.copied <= 2


def test_bad_sets_are_refused_before_anything_is_computed():
    good = heads(4)
    for sets, where in (
        ((good[:3], good, good), "training: expected at least 4 volumes"),
        ((good, good[:1], good), "held-out: expected at least 2 volumes"),
        ((good, good, good[:, 1:]), r"synthetic: expected volumes of \(36, 40, 36\)"),
    ):
        with pytest.raises(ShapeError, match=where):
            compare_volumes(*sets, SETTINGS)
    with pytest.raises(DataError, match="synthetic: expected voxels from 0 to 1"):
        compare_volumes(good, good, good * 2, SETTINGS)


def test_bad_settings_are_refused_together():
    with pytest.raises(SettingsError) as refused:
        EvaluationSettings(spacing_mm=(1.0, 0.0, 1.0), pairs=0, extractor_steps=0, resamples=0)
    told = str(refused.value)
    assert all(
        f"{name}: expected at least 1, found 0" in told
        for name in ("pairs", "extractor_steps", "resamples")
    )
    assert "spacing_mm: expected millimetres above 0" in told
