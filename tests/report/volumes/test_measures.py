"""What counts as within what held-out volumes score."""

from dataclasses import replace

import pytest

from envoi.evaluation.scores import REGIONS
from envoi.report.volumes.measures import measures
from tests.report.volumes.conftest import HELD_OUT, scored

REAL = scored("held-out", HELD_OUT)


def found(scores, family, held_out=REAL):
    """Whether each measure of a family is within."""
    return [one.within for one in measures(scores, held_out) if one.family == family]


def test_real_volumes_are_within_by_every_measure():
    every = measures(REAL, REAL)
    assert len(every) == 5 + 6 + len(REGIONS)
    assert all(one.within for one in every)
    assert [one.plane for one in every].count(True) == 6


@pytest.mark.parametrize(("times", "within"), [(0.5, True), (1.24, True), (1.26, False)])
def test_distances_may_be_a_quarter_larger(times, within):
    scores = scored("synthetic", 7, times=times)
    for extractor in ("random_conv", "self_trained"):
        assert found(scores, f"Frechet distances on {extractor}") == [within] * 3
    assert found(scores, "jumps between slices") == [within]
    told = [one.times for one in measures(scores, REAL) if one.times is not None]
    assert told == pytest.approx([times] * 8)


def test_pairs_may_be_neither_too_much_alike_nor_too_little():
    for mean, within in ((0.86, True), (0.9, True), (0.84, False), (0.92, False)):
        ours = replace(REAL, similarity=replace(REAL.similarity, mean=mean))
        assert found(ours, "MS-SSIM") == [within]


def test_a_discrepancy_is_measured_by_what_chance_does_to_real_volumes():
    rbf, linear = REAL.discrepancies
    for squared, within in ((-0.5, True), (0.0012, True), (0.0013, False)):
        ours = replace(REAL, discrepancies=(linear, replace(rbf, squared=squared)))
        assert found(ours, "MMD") == [within]
        assert ours.discrepancy().squared == squared
        assert ours.discrepancy("linear").squared == linear.squared


def test_only_a_step_that_real_volumes_lack_is_a_seam():
    for seams, within in ((0.5, True), (1.0, True), (1.02, False)):
        ours = replace(REAL, through_plane=replace(REAL.through_plane, seams=seams))
        assert found(ours, "seams") == [within, True]
    seamed = replace(REAL, through_plane=replace(REAL.through_plane, seams=1.16))
    ours = replace(REAL, through_plane=replace(REAL.through_plane, seams=1.2))
    assert found(ours, "seams", held_out=seamed) == [True, True]


def test_seams_anywhere_may_be_a_quarter_more_than_in_real_volumes():
    for anywhere, within in ((1.0, True), (2.5, True), (2.6, False)):
        through = replace(REAL.through_plane, seams_anywhere=anywhere)
        assert found(replace(REAL, through_plane=through), "seams") == [True, within]


def test_effects_are_compared_with_the_interval_of_real_volumes():
    for times, within in ((1.9, True), (0.1, True), (2.1, False), (-0.1, False)):
        scores = scored("synthetic", 7, times=times)
        assert found(scores, "volumes of regions") == [within] * len(REGIONS)


def test_no_ratio_is_told_where_held_out_volumes_have_no_distance():
    nothing = scored("held-out", HELD_OUT, times=0.0)
    assert {one.times for one in measures(scored("synthetic", 7), nothing)} == {None}


def test_the_worst_axis_counts():
    jumps = {"depth": 0.01, "height": 0.3, "width": 0.02}
    ours = replace(REAL, through_plane=replace(REAL.through_plane, jumps=jumps))
    assert ours.through_plane.largest_jump == 0.3
