import dataclasses

import numpy as np
import pytest

from envoi.data.cells import MORPHOLOGIES, draw_cells
from envoi.data.smears import FIELD_UM, draw_smears, photograph
from envoi.data.stains import hospital_stain

CLEAR = dataclasses.replace(hospital_stain(0), blur_um=0.05, noise=0.0, shading=0.0)


def scene(kind="lymphocyte", count=6, seed=0):
    generator = np.random.default_rng(seed)
    cells = draw_cells(np.full(count, list(MORPHOLOGIES).index(kind)), generator)
    return cells, draw_smears(cells, generator, slides=np.arange(count))


def lonely(smears):
    """The same scenes without red cells, in plain light and in focus."""
    return dataclasses.replace(
        smears,
        red_cell_radius_um=np.zeros_like(smears.red_cell_radius_um),
        doses=np.ones_like(smears.doses),
        tint=np.ones_like(smears.tint),
        out_of_focus=np.zeros_like(smears.out_of_focus),
    )


def shot(cells, smears, stain=CLEAR, size_px=28, seed=0):
    generator = np.random.default_rng(seed)
    return photograph(cells, smears, stain=stain, size_px=size_px, generator=generator)


def test_an_empty_spot_has_the_colour_of_the_background():
    cells, smears = scene("platelet")
    images = shot(cells, lonely(smears))
    wanted = np.round(255 * np.array(CLEAR.background))
    np.testing.assert_allclose(images[:, :, 0, 0], np.tile(wanted, (6, 1)), atol=1)


def test_the_cell_covers_as_much_as_its_radius_says():
    cells, smears = scene("lymphocyte")
    images = shot(cells, lonely(smears), size_px=112)
    dark = images[:, 0] < 255 * CLEAR.background[0] - 12
    area_um2 = dark.mean(axis=(1, 2)) * FIELD_UM**2
    np.testing.assert_allclose(area_um2, np.pi * cells.radius_um**2, rtol=0.15)


def test_the_nucleus_is_darker_than_the_cytoplasm_around_it():
    cells, smears = scene("erythroblast")
    images = shot(cells, lonely(smears), size_px=112).astype(int)
    axis = ((np.arange(112) + 0.5) / 112 - 0.5) * FIELD_UM
    for index, image in enumerate(images):
        x = axis[None, :] - cells.centre_um[index, 0]
        y = axis[:, None] - cells.centre_um[index, 1]
        lobe = cells.lobe_um[index, 0]
        from_nucleus = np.hypot(x - lobe[0], y - lobe[1]) / cells.lobe_radius_um[index, 0]
        rim = np.hypot(x, y) / cells.radius_um[index]
        nucleus, cytoplasm = from_nucleus < 0.7, (from_nucleus > 1.3) & (rim < 0.8)
        if cytoplasm.sum() > 20:
            assert image[0][nucleus].mean() < image[0][cytoplasm].mean() - 30


def test_red_cells_leave_room_for_the_cell_in_the_middle():
    cells, smears = scene("monocyte", 50)
    away = smears.red_cell_um - cells.centre_um[:, None]
    gap = np.linalg.norm(away, axis=-1) - smears.red_cell_radius_um - cells.radius_um[:, None]
    assert gap.min() > -2.5
    assert (smears.red_cell_radius_um > 0).any(axis=1).mean() > 0.8


def test_more_dye_is_darker_and_more_blur_is_smoother():
    cells, smears = scene()
    plain = shot(cells, smears).astype(int)
    dark = shot(cells, smears, dataclasses.replace(CLEAR, contrast=1.5)).astype(int)
    assert (dark <= plain).all()
    assert dark.mean() < plain.mean() - 1
    soft = shot(cells, smears, dataclasses.replace(CLEAR, blur_um=1.5)).astype(int)
    assert np.abs(np.diff(soft)).mean() < 0.8 * np.abs(np.diff(plain)).mean()


def test_slides_share_their_thickness():
    generator = np.random.default_rng(0)
    cells = draw_cells(np.zeros(400, np.int64), generator)
    slides = np.arange(400) // 100
    smears = draw_smears(cells, generator, slides=slides)
    doses = np.log(smears.doses[:, 0]).reshape(4, 100)
    alone = draw_smears(cells, generator, slides=np.arange(400))
    assert doses.std(axis=1).mean() < 0.85 * np.log(alone.doses[:, 0]).std()


@pytest.mark.parametrize("size_px", [16, 28, 61])
def test_every_size_shows_the_same_field(size_px):
    cells, smears = scene("monocyte")
    images = shot(cells, lonely(smears), size_px=size_px)
    assert images.shape == (6, 3, size_px, size_px)
    assert images.dtype == np.uint8
    large = shot(cells, lonely(smears), size_px=112)
    np.testing.assert_allclose(images.mean(axis=(2, 3)), large.mean(axis=(2, 3)), atol=6)


def test_no_images_can_be_taken():
    cells, smears = scene(count=0)
    assert shot(cells, smears).shape == (0, 3, 28, 28)
