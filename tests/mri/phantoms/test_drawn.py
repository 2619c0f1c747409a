"""Phantoms: the truth that comes with them is in their voxels."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from envoi.errors import SettingsError
from envoi.mri.phantoms import (
    brain_phantom,
    draw_phantoms,
    phantom_population,
    usual_ventricles_ml,
)
from envoi.mri.phantoms.tissues import Tissue

SIZES_ML = (8.0, 20.0, 35.0, 60.0)


def draw(seed=0, **changes):
    settings = {"age_years": 50.0, "sex": "female"} | changes
    return brain_phantom("sub-01", generator=np.random.default_rng(seed), **settings)


@pytest.fixture(scope="module")
def sizes():
    """The same brain with ventricles of four sizes."""
    return [draw(ventricles_ml=size) for size in SIZES_ML]


@pytest.fixture(scope="module")
def phantom(sizes):
    return sizes[1]


def brightness(phantom, tissue):
    return float(np.median(phantom.subject.volume.voxels[phantom.labels == tissue]))


@pytest.mark.parametrize("number", range(len(SIZES_ML)))
def test_ventricles_have_the_volume_that_was_asked_for(sizes, number):
    made, wanted = sizes[number], SIZES_ML[number]
    assert made.ventricles_ml == pytest.approx(wanted, abs=0.01)
    labelled = np.count_nonzero(made.labels == Tissue.VENTRICLES)
    assert labelled * made.subject.volume.grid.voxel_ml == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize(("shape", "spacing_mm"), [((32, 32, 32), 6.0), ((54, 66, 54), 3.0)])
def test_the_volume_is_right_on_another_grid(shape, spacing_mm):
    made = draw(ventricles_ml=25.0, shape=shape, spacing_mm=spacing_mm)
    grid = made.subject.volume.grid
    assert (grid.shape, grid.spacing_mm) == (shape, (spacing_mm,) * 3)
    labelled = np.count_nonzero(made.labels == Tissue.VENTRICLES) * grid.voxel_ml
    assert made.ventricles_ml == pytest.approx(labelled, rel=0.02)
    assert labelled == pytest.approx(25, rel=0.1)


def test_the_volume_shows_in_the_intensities(sizes):
    """Darkness near the ventricles, against white matter, is what they replace."""
    near = ndimage.binary_dilation(sizes[-1].labels == Tissue.VENTRICLES, iterations=2)
    found = []
    for made in sizes:
        voxels = made.subject.volume.voxels
        share = (0.75 - voxels[near]) / (0.75 - brightness(sizes[-1], Tissue.VENTRICLES))
        found.append(float(np.clip(share, 0, 1).sum()) * made.subject.volume.grid.voxel_ml)
    for (low, small), (high, large) in itertools.pairwise(zip(found, SIZES_ML, strict=True)):
        assert high - low == pytest.approx(large - small, rel=0.3)


def test_tissues_are_as_bright_as_in_a_t1_scan(phantom):
    fluid, grey, nuclei, white = (
        brightness(phantom, tissue)
        for tissue in (Tissue.VENTRICLES, Tissue.GREY, Tissue.DEEP_GREY, Tissue.WHITE)
    )
    assert fluid < 0.35 < grey < nuclei < white - 0.1


def test_the_brain_has_the_size_of_one_and_nothing_is_outside(phantom):
    voxels = phantom.subject.volume.voxels
    assert 1000 < np.count_nonzero(voxels) * 0.064 < 1800
    assert ((voxels > 0) == (phantom.labels > 0)).all()
    assert ndimage.label(voxels > 0)[1] == 1
    for axis in range(3):
        assert voxels.take([0, -1], axis).max() == 0


def test_every_tissue_is_there_in_a_plausible_amount(phantom):
    ml = {tissue: np.count_nonzero(phantom.labels == tissue) * 0.064 for tissue in Tissue}
    assert 350 < ml[Tissue.GREY] < 750
    assert 300 < ml[Tissue.WHITE] < 650
    assert 60 < ml[Tissue.FLUID] < 350
    assert 90 < ml[Tissue.CEREBELLUM] < 200
    assert 12 < ml[Tissue.STEM] < 45
    assert 5 < ml[Tissue.DEEP_GREY] < 40


def test_parts_lie_where_they_do_in_a_head(phantom):
    z, y, x = (
        {tissue: np.argwhere(phantom.labels == tissue)[:, axis].mean() for tissue in Tissue}
        for axis in range(3)
    )
    assert z[Tissue.CEREBELLUM] < z[Tissue.WHITE] - 8
    assert y[Tissue.CEREBELLUM] < y[Tissue.WHITE] - 5
    assert y[Tissue.CEREBELLUM] < y[Tissue.STEM] < y[Tissue.DEEP_GREY]
    assert z[Tissue.STEM] < z[Tissue.VENTRICLES]
    for tissue in Tissue:
        assert x[tissue] == pytest.approx(23.5, abs=1.5)


def test_a_dark_fissure_parts_the_hemispheres_above_a_bright_bridge(phantom):
    voxels = phantom.subject.volume.voxels
    above = slice(32, 38)  # 34 to 54 mm above the middle
    middle = voxels[above, 20:34, 23:25].mean()
    beside = voxels[above, 20:34, 28:32].mean()
    assert middle < beside - 0.15
    assert voxels[:, 29, 23:25].mean(axis=1)[22:30].max() > 0.75


def test_sulci_cut_into_the_cortex(phantom):
    """Fluid lies within the brain's smooth hull, next to grey matter, all around."""
    hull = ndimage.binary_erosion(ndimage.binary_closing(phantom.labels > 0, iterations=3))
    inner = hull & (phantom.labels == Tissue.FLUID)
    assert np.count_nonzero(inner) > 300
    assert np.count_nonzero(inner[:, :, :24]) > 100 < np.count_nonzero(inner[:, :, 24:])


def test_left_and_right_are_not_mirror_images(phantom):
    voxels = phantom.subject.volume.voxels
    assert np.abs(voxels - voxels[:, :, ::-1])[voxels > 0].mean() > 0.03


def test_equal_generators_draw_equal_phantoms():
    first, again, other = draw(1), draw(1), draw(2)
    assert (first.subject.volume.voxels == again.subject.volume.voxels).all()
    assert (first.labels == again.labels).all()
    assert not (first.labels == other.labels).all()


def test_sulci_widen_with_age_and_mens_heads_are_larger():
    young, old = (draw(age_years=age, ventricles_ml=20.0) for age in (25.0, 80.0))
    fluid = [np.count_nonzero(made.labels == Tissue.FLUID) for made in (young, old)]
    assert fluid[1] > 1.5 * fluid[0]
    heads = [np.count_nonzero(draw(sex=sex).labels) for sex in ("female", "male")]
    assert heads[1] > 1.05 * heads[0]


def test_usual_ventricles_grow_with_age():
    assert usual_ventricles_ml(20) == pytest.approx(14)
    assert usual_ventricles_ml(80) == pytest.approx(46.5, abs=0.1)
    made = [draw(seed, age_years=age) for seed in range(3) for age in (25.0, 80.0)]
    young, old = ([p.ventricles_ml for p in made[start::2]] for start in (0, 1))
    assert max(young) < min(old)


def test_a_population_does_not_change_when_it_grows():
    few, more = draw_phantoms(2, seed=3), draw_phantoms(4, seed=3)
    assert [p.subject.name for p in more] == ["sub-01", "sub-02", "sub-03", "sub-04"]
    for old, new in zip(few, more, strict=False):
        assert (old.subject.volume.voxels == new.subject.volume.voxels).all()
        assert old.subject.age_years == new.subject.age_years
    assert len({p.subject.age_years for p in more}) == 4
    assert all(20 <= p.subject.age_years <= 85 for p in more)
    assert draw_phantoms(1, seed=4)[0].subject.age_years != few[0].subject.age_years


def test_subjects_are_those_of_the_phantoms():
    (subject,), (made,) = phantom_population(1, 7), draw_phantoms(1, 7)
    assert (subject.name, subject.age_years, subject.sex) == (
        "sub-01",
        made.subject.age_years,
        made.subject.sex,
    )
    assert (subject.volume.voxels == made.subject.volume.voxels).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_head_fits_the_smallest_field(seed):
    made = draw(seed, sex="male", shape=(26, 32, 26), spacing_mm=6.0)
    for axis in range(3):
        assert made.subject.volume.voxels.take([0, -1], axis).mean() < 0.02


@pytest.mark.parametrize("subjects", [0, -1])
def test_nobody_cannot_be_drawn(subjects):
    with pytest.raises(SettingsError, match=f"subjects: expected 1 or more, found {subjects}"):
        draw_phantoms(subjects, 0)


def test_a_field_too_small_and_ventricles_too_large_are_told_at_once():
    with pytest.raises(SettingsError) as caught:
        draw(shape=(20, 56, 48), ventricles_ml=500.0)
    assert str(caught.value) == (
        "shape and spacing_mm: expected a field of view of at least 156 x 192 x 156 mm, "
        "found 80 x 224 x 192. Choose more or larger voxels.\n"
        "ventricles_ml: expected 4 to 120 ml, found 500. Choose a volume within."
    )
