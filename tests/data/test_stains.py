import dataclasses

import numpy as np
import pytest

from envoi.data.stains import Stain, hospital_stain
from envoi.errors import SettingsError


def test_a_hospital_keeps_its_stain():
    assert hospital_stain(2, seed=3) == hospital_stain(2, seed=3)
    assert hospital_stain(2, seed=3) != hospital_stain(2, seed=4)


def test_hospitals_differ_and_stay_plausible():
    stains = [hospital_stain(index) for index in range(40)]
    assert len(set(stains)) == 40
    for stain in stains:
        assert all(0.7 < light <= 1 for light in stain.background)
        assert stain.azure[0] > stain.azure[2]  # azure dims red light most: it looks blue
        assert stain.eosin[1] > stain.eosin[0]  # eosin lets red light through: it looks pink
        assert 0.5 < stain.contrast < 1.5
        assert stain.blur_um > 0


def test_another_hospital_does_not_change_the_first():
    few = [hospital_stain(index, seed=1) for index in range(3)]
    many = [hospital_stain(index, seed=1) for index in range(9)]
    assert many[:3] == few


def test_a_stain_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        hospital_stain(0).noise = 1.0  # type: ignore[misc]


def test_a_negative_hospital_is_refused():
    with pytest.raises(SettingsError, match="hospital: expected an index from 0, found -1"):
        hospital_stain(-1)


@pytest.mark.parametrize("name", ["contrast", "blur_um", "noise", "shading"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), 10.0])
def test_impossible_stains_are_refused(name, value):
    dyes = {"azure": (1.0, 0.8, 0.3), "eosin": (0.1, 0.7, 0.5), "background": (0.9, 0.9, 0.9)}
    with pytest.raises(SettingsError, match=f"stain, {name}: expected a value from 0"):
        Stain(**dyes, **{name: value})


def test_background_is_what_an_empty_spot_shows():
    stain = hospital_stain(0)
    assert np.mean(stain.background) > 0.8
