"""Masks of known slices, and how people name slices."""

import numpy as np
import pytest
import torch

from envoi.errors import SettingsError
from envoi.mri.given import given_slices, random_mask, slices_given
from envoi.mri.slabs import Plane, facing


def test_half_of_the_masks_give_nothing(generator):
    empty = sum(not random_mask((8, 9, 10), generator).any() for _ in range(2000)) / 2000
    assert empty == pytest.approx(0.5, abs=0.04)


def test_a_mask_is_made_of_whole_slices_of_one_plane(generator):
    seen = set()
    for _ in range(300):
        mask = random_mask((8, 9, 10), generator, nothing=0)
        assert mask.any()
        whole = [plane for plane in Plane if (facing(mask, plane).flatten(1).var(dim=1) == 0).all()]
        assert whole
        seen.update(whole[:1])
    assert seen == set(Plane)


def test_ranges_and_numbers_of_slices():
    assert slices_given("40:43", 60) == [40, 41, 42]
    assert slices_given("7,3,7", 60) == [3, 7]
    assert slices_given("0:2,58:60", 60) == [0, 1, 58, 59]


@pytest.mark.parametrize("words", ["", "a", "4:", "4:2", "-1", "60", "50:61", "1;2"])
def test_other_words_are_no_slices_of_the_scan(words):
    with pytest.raises(SettingsError, match="slices"):
        slices_given(words, 60)


def test_the_same_seed_gives_the_same_mask():
    first, again = (random_mask((6, 6, 6), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)


def brain():
    """Axial slices 3 to 8 of 12 show it."""
    voxels = np.zeros((12, 9, 10), np.float32)
    voxels[3:9, 2:7, 2:8] = 0.5
    return voxels


@pytest.mark.parametrize(("named", "kept"), [({"slices": "0:4"}, 4), ({"every": 5}, 3)])
def test_kept_slices_are_those_that_were_named(named, kept):
    found = given_slices(brain(), Plane.AXIAL, **named)
    assert int(found.mask.flatten(1).all(dim=1).sum()) == kept == found.mask.sum() / 90


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ({"every": 1000}, "found background alone in 1 slice. Keep some of the brain's axial slic"),
        ({"slices": "0:3"}, "background alone in 3 slices. Keep some .* such as --slices 5:7"),
        ({"every": 1}, "expected slices to generate, found all 12 kept. Keep fewer, such as"),
        ({"slices": "0:12"}, "expected slices to generate, found all 12 kept"),
        ({"slices": "0:13"}, "slices within 0:12, .* Count from 0 to 11; the end of a range is"),
        ({}, "found neither. Say --every 4, or --slices 5:7"),
    ],
)
def test_slices_that_give_nothing_or_everything_are_refused(named, line):
    with pytest.raises(SettingsError, match=line):
        given_slices(brain(), Plane.AXIAL, **named)
