"""Whom a model can draw: like those it learnt from."""

from dataclasses import asdict, replace

import pytest

from envoi.errors import EnvoiWarning, SettingsError
from envoi.mri.asked import ages_of, check_asked, sexes_of
from envoi.mri.modes import ModelCard, read_card
from envoi.mri.run import train_in
from envoi.mri.training import MriTraining
from tests.mri.conftest import PLANS, subjects


def card(**changes):
    grid = subjects()[0].volume.grid
    told = {"ages_years": (30.0, 65.0), "sexes": ("female", "male"), **changes}
    return ModelCard("joint", asdict(PLANS["joint"]), grid, 3, 6, None, **told, weights="")


def test_ages_are_rounded_outwards_and_unknown_ones_left_out():
    people = [
        replace(one, age_years=age) for one, age in zip(subjects(), (33.3, None, 61), strict=True)
    ]
    assert ages_of(people) == (30, 65)
    assert sexes_of(people) == ("female", "male")
    nobody = [replace(one, age_years=None, sex=None) for one in people]
    assert (ages_of(nobody), sexes_of(nobody)) == ((), ())


def test_a_trained_model_tells_whom_it_learnt_from(tmp_path):
    people = [replace(one, sex=None) for one in subjects()]
    train_in(tmp_path, people, "joint", PLANS["joint"], MriTraining(steps=1, batch=1))
    told = read_card(tmp_path / "model.safetensors")
    assert (told.ages_years, told.sexes) == ((30, 35), ())


@pytest.mark.parametrize(
    ("changes", "age", "sex", "line"),
    [
        ({"sexes": ()}, None, "male", "--sex: expected none, as in training, found male. Leave it"),
        (
            {"sexes": ("female",)},
            None,
            "male",
            "expected female, as the model learnt from, found m",
        ),
        ({"ages_years": ()}, 40, None, "--age: expected none, as in training, found 40 years. Lea"),
        ({"mode": "paper"}, 40, None, "mode paper: expected no --age and no --sex"),
    ],
)
def test_what_was_never_learnt_is_refused(changes, age, sex, line):
    with pytest.raises(SettingsError, match=line):
        check_asked(replace(card(), **changes), age, sex)


def test_an_age_that_was_never_met_is_warned_of():
    told = card(ages_years=(30.0, 65.0), sexes=("female",))
    for age in (30, 65, None):
        check_asked(told, age, "female")
    with pytest.warns(
        EnvoiWarning, match="people of 30 to 65 years; what it draws for 66 is a gue"
    ):
        check_asked(told, 66, None)
