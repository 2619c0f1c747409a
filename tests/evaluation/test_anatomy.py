import numpy as np
import pytest

from envoi.errors import DataError, SettingsError
from envoi.evaluation.anatomy import (
    cohens_d,
    compare_regions,
    effect_interval,
    region_volumes,
    ventricles,
)
from tests.evaluation.phantoms import SPACING_MM, ellipsoid, head, heads


@pytest.mark.parametrize("ventricle", [2.2, 3.5])
def test_known_volumes_are_measured(ventricle):
    voxels, masks = head(ventricle=ventricle)
    measured = region_volumes(voxels[None], SPACING_MM)
    true = {name: masks[name].sum() * 0.064 for name in measured}
    assert measured["brain"] == pytest.approx(true["brain"])
    for region in ("csf", "grey", "white"):
        assert measured[region] == pytest.approx(true[region], rel=0.06), region
    assert measured["ventricles"] == pytest.approx(true["ventricles"], rel=0.15)


def test_tissues_share_the_brain_out():
    measured = region_volumes(heads(2), SPACING_MM)
    total = measured["csf"] + measured["grey"] + measured["white"]
    np.testing.assert_allclose(total, measured["brain"])


def test_volumes_follow_the_spacing():
    voxels = heads(1)
    small = region_volumes(voxels, SPACING_MM)
    large = region_volumes(voxels, (4.4, 4.0, 4.0))
    assert large["brain"] == pytest.approx(1.1 * small["brain"])


def test_ventricles_are_dark_deep_and_central():
    brain = ellipsoid((15, 18, 15))
    middle = ellipsoid((2, 3, 2))
    sulcus = np.zeros_like(brain)
    sulcus[17:19, 18:20] = True  # across the head, through the middle
    aside = ellipsoid((2, 2, 2), centre=(0, 0, 9))
    np.testing.assert_array_equal(ventricles(middle, brain, SPACING_MM), middle)
    assert not ventricles(aside, brain, SPACING_MM).any()
    assert not ventricles(~brain, brain, SPACING_MM).any()
    speck = np.zeros_like(brain)
    speck[18, 20, 18] = True
    assert not ventricles(speck, brain, SPACING_MM).any()
    both = ventricles(middle | aside | speck, brain, SPACING_MM)
    np.testing.assert_array_equal(both, middle | (speck & middle))
    assert 0 < ventricles(sulcus & brain, brain, SPACING_MM).sum() < (sulcus & brain).sum() / 2


def test_holes_in_the_middle_are_ventricles():
    voxels, masks = head(ventricle=3.0)
    holed = np.where(masks["ventricles"], np.float32(0), voxels)
    found = region_volumes(holed[None], SPACING_MM)
    assert found["ventricles"] == pytest.approx(masks["ventricles"].sum() * 0.064, rel=0.1)
    assert found["brain"] < masks["brain"].sum() * 0.064


def test_a_brain_that_fills_the_volume_has_an_outside():
    brain = np.ones((20, 20, 20), bool)
    edge = np.zeros_like(brain)
    edge[:2] = edge[:, :2] = True
    assert not ventricles(edge, brain, SPACING_MM).any()


def test_effects_are_those_of_cohen():
    one, two = np.array([3.0, 5.0, 7.0]), np.array([1.0, 3.0])
    pooled = np.sqrt((8 + 2) / 3)
    assert cohens_d(one, two) == pytest.approx(3 / pooled)
    assert cohens_d(two, one) == pytest.approx(-3 / pooled)
    assert cohens_d(np.ones(3), np.ones(2)) == 0


def test_the_interval_covers_the_true_effect_about_as_often_as_it_claims():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        values, reference = generator.normal(0.5, 1, 30), generator.normal(0, 1, 60)
        interval = effect_interval(values, reference, resamples=200, seed=trial)
        covered += interval.low <= 0.5 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_larger_brains_have_a_positive_effect():
    reference = region_volumes(heads(6), SPACING_MM)
    larger = region_volumes(heads(6, seed=1, grown=1.1), SPACING_MM)
    found = {one.region: one for one in compare_regions(larger, reference, resamples=200, seed=0)}
    assert list(found) == ["brain", "csf", "grey", "white", "ventricles"]
    assert found["brain"].effect.low > 0.5
    assert found["white"].effect.low > 0.5
    assert found["brain"].millilitres == tuple(larger["brain"])
    assert found["brain"].reference_millilitres == tuple(reference["brain"])


def test_bad_input_is_refused():
    with pytest.raises(DataError, match="three different intensities, found 0"):
        region_volumes(np.zeros((1, 16, 16, 16), np.float32), SPACING_MM)
    with pytest.raises(SettingsError, match="at least 1 resample, found 0"):
        effect_interval(np.ones(3), np.ones(3), resamples=0, seed=0)
