"""Skulls are found out; brains alone are let through."""

import numpy as np
import pytest

from envoi.data.skulls import problems_of_voxels, signs_of_a_skull
from tests.data.heads import affine, brain, head


def stripped(spacing_mm=4.0):
    """The brain of the phantom head."""
    voxels = head(spacing_mm)
    return np.where(voxels == 500, voxels, 0)


def told(voxels, matrix=None, *, allow_skull=False):
    found = list(
        problems_of_voxels(
            voxels,
            affine(4.0) if matrix is None else matrix,
            allow_skull=allow_skull,
            where="scan",
        )
    )
    assert len(found) <= 1
    return str(found[0]) if found else ""


def test_a_brain_alone_shows_no_sign():
    assert signs_of_a_skull(stripped(), affine(4.0)) == ""
    assert signs_of_a_skull(brain(), affine()) == ""


def test_a_brain_in_the_tightest_box_shows_no_sign():
    voxels = stripped(2.0)
    low, high = np.argwhere(voxels).min(axis=0), np.argwhere(voxels).max(axis=0) + 1
    tight = voxels[tuple(slice(*ends) for ends in zip(low, high, strict=True))]
    assert signs_of_a_skull(tight, affine(2.0)) == ""


def test_a_head_in_clean_air_is_found_by_its_volume():
    assert (head() == 0).mean() > 0.6
    message = told(head())
    assert message.startswith("scan: expected a brain without skull, 0 outside of it, found ")
    assert "ml that are not 0" in message
    assert message.endswith("or give --allow-skull (in Python, allow_skull=True).")


def test_a_head_in_noisy_air_is_found_by_the_faces():
    assert "a face of the box with 100 % of its voxels not 0" in told(head(noise=5.0))


def test_a_neck_is_found_by_the_face_it_leaves_through():
    voxels = head()[8:-8, 5:-5]
    assert 10 < float(told(voxels).split("with ")[1].split(" %")[0]) < 90


def test_a_box_full_of_tissue_is_found_by_its_share():
    voxels = np.zeros((10, 10, 10), np.float32)
    voxels[1:-1, 1:-1, 1:-1] = np.random.default_rng(0).uniform(1, 2, (8, 8, 8))
    assert signs_of_a_skull(voxels, affine()) == ""
    full = np.zeros((40, 40, 40), np.float32)
    full[1:-1, 1:-1, 1:-1] = 1.5
    assert signs_of_a_skull(full, affine(1.0)) == "86 % of all voxels not 0"


def test_the_volume_is_told_by_the_affine_in_any_order_of_axes():
    turned = affine(4.0)[[2, 0, 1, 3]] * [[-1], [1], [1], [1]]
    assert signs_of_a_skull(head(), turned) == signs_of_a_skull(head(), affine(4.0))
    assert signs_of_a_skull(head(), affine(2.0)) == ""


def test_a_skull_is_taken_when_that_is_permitted():
    assert told(head(noise=5.0), allow_skull=True) == ""


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("allow_skull", [True, False])
def test_voxels_that_are_no_numbers_are_counted(value, allow_skull):
    voxels = brain()
    voxels[3, 4, 5:7] = value
    message = told(voxels, allow_skull=allow_skull)
    assert "expected finite voxels, found 2 that are NaN or infinite" in message
    assert message.endswith("Export the scan again, with 0 outside of the brain.")


@pytest.mark.parametrize(
    ("voxels", "found"),
    [
        (np.zeros((4, 4, 4), np.float32), "found 0 alone"),
        (np.full((4, 4, 4), 7, np.float32), "found 7 alone"),
        (-brain(), "found -900 to -0"),
    ],
)
def test_a_scan_of_nothing_is_refused(voxels, found):
    message = told(voxels, allow_skull=True)
    assert f"expected voxels above 0 that differ, {found}" in message
    assert message.endswith("Check that the file holds a scan; tissue must be above 0.")


def test_a_mask_is_no_scan_whatever_is_permitted():
    mask = np.float32(brain() > 0)
    line = "scan: expected intensities of a scan, found two values alone, as of a mask. Give the "
    assert told(mask, affine()).startswith(line)
    assert told(3 * mask, affine(), allow_skull=True).startswith(line)
    mask[0, 0, 0] = 0.5
    assert told(mask, affine()) == ""
