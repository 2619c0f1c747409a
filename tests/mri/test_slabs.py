"""Cuts of a volume into slabs: everything is covered, and weighs one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.mri.slabs import Plane, cuts, facing, turned_back


@given(st.data())
@settings(deadline=None, max_examples=80)
def test_every_slice_weighs_one_whatever_the_shift(data):
    thickness = data.draw(st.integers(1, 12))
    slices = data.draw(st.integers(thickness, 60))
    overlap = data.draw(st.integers(0, thickness - 1))
    shift = data.draw(st.integers(0, thickness - overlap - 1))
    cut = cuts(slices, thickness, overlap, shift)
    total = torch.zeros(slices)
    for start, weights in zip(cut.starts, cut.weights, strict=True):
        assert 0 <= start <= slices - thickness
        total[start : start + thickness] += weights
    torch.testing.assert_close(total, torch.ones(slices))
    assert (cut.weights >= 0).all()


def test_a_shift_moves_the_borders():
    borders = {start for shift in range(6) for start in cuts(40, 8, 2, shift).starts}
    assert borders == set(range(33))


@pytest.mark.parametrize("plane", Plane)
def test_a_volume_turned_to_a_plane_turns_back(plane):
    volume = torch.arange(24.0).reshape(2, 3, 4)
    faced = facing(volume, plane)
    assert faced.shape[0] == volume.shape[plane.axis]
    assert torch.equal(turned_back(faced, plane), volume)


def test_sagittal_slices_run_from_left_to_right():
    volume = torch.zeros(2, 3, 4)
    volume[:, :, 3] = 1
    assert facing(volume, Plane.SAGITTAL)[3].eq(1).all()
