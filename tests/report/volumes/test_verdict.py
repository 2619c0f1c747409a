"""Sentences, from the numbers."""

from dataclasses import replace

import pytest

from envoi.report.volumes.verdict import figures, notes, verdict
from tests.report.volumes.conftest import HELD_OUT, scored


def test_a_set_that_falls_short(scores):
    assert verdict(scores) == (
        "7 synthetic brains against 5 real ones that the model learnt from and 4 that it never "
        "saw. 1 of 7 measures is within what held-out real brains score. 1 of 7 (14%) counts as "
        "a copy of a brain that the model learnt from (1 in voxels and 0 in features)."
    )
    beyond, within, few, near, *others = notes(scores)
    assert beyond == (
        "Not within: MMD; Frechet distances on random_conv (all, up to 3.0 times the held-out "
        "value); Frechet distances on self_trained (all, up to 3.0 times the held-out value); "
        "jumps between slices (3.0 times the held-out value); seams "
        "(anywhere, up to 3.0 times the held-out value); volumes of regions (all)."
    )
    assert within == "Within: MS-SSIM."
    assert few.startswith("What counts as near or as a copy rests on 4 held-out brains alone")
    assert "than 19 in 20 held-out brains are: 2 of 7 in voxels and 2 of 7 in features." in near
    assert len(others) == 2
    assert "no proof of privacy" in others[0]
    assert "shows real scans" in others[1]


def test_a_set_that_is_as_good_as_real(synthetic):
    scores = synthetic()
    told = verdict(scores)
    assert "All of 7 measures are within what held-out real brains score." in told
    assert told.endswith(
        "No synthetic brain was found to be a copy of one that the model learnt from."
    )
    assert notes(scores)[0].startswith("Within: MS-SSIM, MMD, Frechet distances on random_conv, ")
    assert not any("Not within" in note for note in notes(scores))


def test_a_set_that_is_nothing_like_real(synthetic):
    scores = synthetic(times=30.0, copied=7)
    assert "None of 7 measures are within" in verdict(scores)
    assert verdict(scores).endswith(
        "7 of 7 (100%) count as copies of a brain that the model learnt from "
        "(7 in voxels and 0 in features)."
    )
    assert "(all, up to 30 times the held-out value)" in notes(scores)[0]


def test_a_single_plane_is_named(synthetic):
    scores = synthetic()
    ours = scores.synthetic
    planes = (replace(ours.frechet[0], distance=12.0), *ours.frechet[1:])
    told = notes(replace(scores, synthetic=replace(ours, frechet=planes)))[0]
    assert told == (
        "Not within: Frechet distances on random_conv (axial, up to 12 times the held-out value)."
    )


@pytest.mark.parametrize(("times", "blind"), [(1.0, True), (5.0, False)])
def test_controls_that_nothing_is_found_in_are_named(scores, times, blind):
    controls = (scored("noisy", HELD_OUT, times=times), scored("copied", HELD_OUT, copied=HELD_OUT))
    told = " ".join(notes(replace(scores, controls=controls)))
    assert (
        "No measure finds anything wrong with noisy, which is wrong on purpose" in told
    ) == blind
    assert "wrong with copied" not in told


def test_key_figures(scores, synthetic):
    told = [(figure.value, figure.label) for figure in figures(scores)]
    assert told == [
        ("1 of 7", "measures as held-out brains"),
        ("3.0 times", "the held-out Frechet distance, at worst"),
        ("1 of 7", "synthetic brains count as copies"),
        ("0.90", "MS-SSIM of pairs (real: 0.88)"),
    ]
    nothing = replace(scores, held_out=scored("held-out", HELD_OUT, times=0.0))
    assert len(figures(nothing)) == 3
