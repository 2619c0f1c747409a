"""Pairs of volumes: which ones, laid over one another as they were found."""

from dataclasses import replace

import numpy as np
import pytest

from envoi.evaluation.copies import voxel_copies
from envoi.evaluation.scores import Neighbour
from envoi.report.volumes.neighbours import laid_over, nearest_pairs, summary
from envoi.report.volumes.sets import VolumeSets
from envoi.volumes import Grid


def test_a_copy_is_laid_over_its_source(sets):
    moved = np.roll(sets.training[3][..., ::-1], (1, -2, 1), axis=(0, 1, 2))[None]
    found = voxel_copies(sets.training, sets.held_out).find(np.concatenate([moved, sets.held_out]))
    neighbour = found.neighbours[0]
    assert (neighbour.training, neighbour.flipped) == (3, True)
    np.testing.assert_array_equal(laid_over(moved[0], neighbour, 1), sets.training[3])


def test_shifts_of_a_coarser_search_are_larger():
    voxels = np.zeros((6, 6, 6), np.float32)
    voxels[1, 1, 1] = 1
    moved = laid_over(voxels, Neighbour(0, 0, 0.1, 0.9, False, (1, 0, -1)), 2)
    assert np.argwhere(moved).tolist() == [[3, 1, 5]]


def test_the_six_of_the_smallest_ratio_come_first(scores, sets):
    pairs = nearest_pairs(scores, sets)
    assert [pair.title for pair in pairs] == [
        "Synthetic 1, training 1, by voxels",
        *(
            f"Synthetic {number}, training {(number - 1) % 5 + 1}, by voxels"
            for number in (7, 6, 5, 4, 3)
        ),
    ]
    assert [pair.copied for pair in pairs] == [True, *[False] * 5]
    assert pairs[0].words == (
        "Distance 0.010, below 0.070; ratio 0.10, below 0.90. Nearest when mirrored and moved by "
        "voxels: 1 up, 2 left."
    )
    assert pairs[1].words == (
        "Distance 0.100, not below 0.070; ratio 0.93, not below 0.90. Nearest as it is."
    )


@pytest.mark.parametrize("size", [64, 65])
def test_shifts_are_told_in_the_volume_s_own_voxels(scores, sets, size):
    wide = (*sets.grid.shape[:2], size)
    large = [np.zeros((len(one), *wide), np.float32) for one in (sets.training, sets.synthetic)]
    grown = VolumeSets(large[0], sets.held_out, large[1], Grid(wide, sets.grid.spacing_mm))
    told = "1 up, 2 left" if size == 64 else "2 up, 4 left"
    assert nearest_pairs(scores, grown)[0].words.endswith(f"moved by voxels: {told}.")


def test_fewer_than_six_are_all_shown(scores, sets):
    found = scores.synthetic.copies[0]
    few = replace(found, neighbours=found.neighbours[:2])
    ours = replace(scores.synthetic, copies=(few, scores.synthetic.copies[1]))
    assert len(nearest_pairs(replace(scores, synthetic=ours), sets)) == 2


def test_pairs_are_of_the_space_that_finds_copies(scores, sets):
    voxels, features = scores.synthetic.copies
    voxels, features = replace(voxels, copied=0), replace(features, copied=2)
    ours = replace(scores.synthetic, copies=(voxels, features))
    pairs = nearest_pairs(replace(scores, synthetic=ours), sets)
    assert all(pair.title.endswith(", by features") for pair in pairs)


def test_each_space_tells_its_thresholds(scores):
    voxels, features = summary(scores)
    told = "1 copied, 2 near. Near is a distance below 0.07; a copy's ratio is also below 0.9."
    assert voxels == f"In voxels: {told}"
    told = "0 copied, 2 near. Near is a distance below 0.3; a copy's ratio is also below 0.8."
    assert features == f"In self_trained: {told}"
