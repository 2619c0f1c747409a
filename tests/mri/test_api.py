"""A model in Python: completion asks what the command line asks."""

import re
from dataclasses import asdict, replace

import numpy as np
import pytest

from envoi.errors import DataError, EnvoiWarning, SettingsError
from envoi.mri.api import BrainModel, train_brains
from envoi.mri.modes import ModelCard, model_of
from envoi.volumes import Grid, Volume
from tests.mri.conftest import PLANS, SHAPE, subjects


@pytest.fixture
def scan():
    return subjects()[0].volume


@pytest.fixture
def trained(scan):
    plan = PLANS["joint"]
    card = ModelCard(
        "joint", asdict(plan), scan.grid, 3, 6, None, (30.0, 65.0), ("female",), weights=""
    )
    return BrainModel(model_of(plan), card)


@pytest.mark.parametrize(
    "grid", [Grid(SHAPE, (1.0, 1.0, 1.0)), Grid((12, 14, 11), (4.0, 4.0, 4.0))]
)
def test_a_scan_on_another_grid_is_refused(trained, grid):
    other = Volume(np.full(grid.shape, 0.5, np.float32), grid)
    line = f"scan: expected {SHAPE} voxels of (4.0, 4.0, 4.0) mm, found {grid.shape} of"
    with pytest.raises(DataError, match=re.escape(line)):
        trained.complete(other, every=2)


def test_completion_is_told_age_and_sex(trained, scan, monkeypatch):
    told = []

    def drawn(model, age_years, sex, **options):
        told.append((age_years, sex))
        return scan.voxels

    monkeypatch.setattr("envoi.mri.api.drawn_intensities", drawn)
    trained.complete(scan, every=2)
    completed = trained.complete(scan, every=2, age_years=40, sex="female")
    assert told == [(None, None), (40, "female")]
    assert completed.grid == scan.grid


def test_a_person_that_was_never_learnt_from_is_refused(trained, scan, monkeypatch):
    monkeypatch.setattr("envoi.mri.api.drawn_intensities", lambda *_, **options: scan.voxels)
    with pytest.raises(SettingsError, match="--sex: expected female, as the model learnt from"):
        trained.complete(scan, every=2, sex="male")
    with pytest.warns(EnvoiWarning, match="what it draws for 80 is a guess"):
        trained.complete(scan, every=2, age_years=80)
    paper = replace(trained, card=replace(trained.card, mode="paper"))
    with pytest.raises(SettingsError, match="mode paper: expected no --age and no --sex"):
        paper.complete(scan, every=2, age_years=40)


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(trained, scan, steps):
    with pytest.raises(SettingsError, match=f"steps: expected positive, found {steps}"):
        trained.draw(steps=steps)
    with pytest.raises(SettingsError, match=f"steps: expected positive, found {steps}"):
        trained.complete(scan, every=2, steps=steps)


def test_nobody_and_unknown_settings_are_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(DataError, match="brains to learn from, found none"):
        train_brains([], tmp_path / "run")
    with pytest.raises(SettingsError, match="'stepz'.*steps"):
        train_brains(subjects(), tmp_path / "run", stepz=3)
    assert not (tmp_path / "run").exists()
