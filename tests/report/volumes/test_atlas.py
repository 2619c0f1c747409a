"""Sections: which way up, how large, and whose."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from envoi.report.volumes.atlas import GAP_PX, atlas, middles, picture, section, sheet
from envoi.volumes import Grid
from tests.report.volumes.conftest import SHAPE

CUBES = Grid((4, 5, 6), (2.0, 2.0, 2.0))


def pixels(embedded):
    content = base64.b64decode(embedded.uri.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.parametrize(
    ("plane", "place", "at"),
    [
        ("axial", 3, (0, -1)),  # front up, the patient's left on the right
        ("coronal", 4, (0, -1)),  # the top of the head up
        ("sagittal", 0, (0, 0)),  # the nose on the left
    ],
)
def test_sections_are_turned_as_radiologists_expect(plane, place, at):
    voxels = np.zeros(CUBES.shape, np.float32)
    voxels[-1, -1, 0] = 1  # the top of the head, the front, the left
    drawn = section(voxels, plane, place, CUBES)
    assert drawn[at] == 255
    assert drawn.sum() == 255
    assert section(voxels, plane, 2, CUBES).sum() == 0


def test_flat_voxels_are_drawn_in_proportion():
    flat = Grid((4, 5, 6), (3.0, 1.0, 1.0))
    voxels = np.linspace(0, 1, 120, dtype=np.float32).reshape(flat.shape)
    drawn = section(voxels, "coronal", 2, flat)
    assert drawn.shape == (12, 6)
    np.testing.assert_array_equal(drawn[0], drawn[2])
    assert (drawn[0] != drawn[3]).any()
    assert section(voxels, "axial", 0, flat).shape == (5, 6)


def test_middles_are_the_three_planes():
    voxels = np.zeros(CUBES.shape, np.float32)
    voxels[2, 2, 3] = 0.5
    assert [(one.shape, int(one.max())) for one in middles(voxels, CUBES)] == [
        ((5, 6), 128), ((4, 6), 128), ((4, 5), 128),
    ]  # fmt: skip


def test_a_sheet_keeps_every_section_whole():
    small, large = np.full((2, 3), 100, np.uint8), np.full((4, 5), 200, np.uint8)
    drawn = sheet([[small, large], [large, small]])
    assert drawn.shape == (2 * (4 + 2 * GAP_PX), 2 * (5 + 2 * GAP_PX))
    assert (drawn == 100).sum() == 2 * small.size
    assert (drawn == 200).sum() == 2 * large.size
    np.testing.assert_array_equal(pixels(picture(drawn, "")), drawn)


def test_both_sets_are_cut_at_the_same_places_within_the_brain(sets):
    plates = atlas(sets)
    assert [plate.plane for plate in plates] == ["axial", "coronal", "sagittal"]
    for plate in plates:
        assert plate.real.caption.startswith("Real, held out: the first 3 of the set, ")
        assert plate.synthetic.caption.startswith("Synthetic: the first 3 of the set, ")
        places = plate.real.caption.split("at slices ")[1]
        assert places == plate.synthetic.caption.split("at slices ")[1]
        assert len(set(places.split(", "))) == 5
    axial = plates[0]
    places = [int(place) - 1 for place in axial.real.caption.split("at slices ")[1].split(", ")]
    _, height, width = (size + 2 * GAP_PX for size in SHAPE)
    for embedded, volumes in ((axial.real, sets.held_out), (axial.synthetic, sets.synthetic)):
        drawn = pixels(embedded)
        assert drawn.shape == (3 * height, 5 * width)
        for row in range(3):
            for column, place in enumerate(places):
                part = drawn[row * height :, column * width :][GAP_PX:, GAP_PX:]
                wanted = np.rint(255 * volumes[row, place, ::-1, ::-1])
                assert wanted.max() > 100
                np.testing.assert_array_equal(part[: SHAPE[1], : SHAPE[2]], wanted)
