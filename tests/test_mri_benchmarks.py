"""What the benchmarks of brains count, and whom they leave out."""

import csv
import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from envoi.evaluation.copies import voxel_copies
from envoi.evaluation.scores import AXES, PLANES
from envoi.evaluation.through_plane import jump_distance
from envoi.files import write_json
from envoi.volumes import Grid, Subject, Volume
from tests.evaluation.phantoms import heads
from tests.report.volumes.conftest import scored

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Loads one of the files, which import each other by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    names = ("mri_models", "mri_quality", "mri_conditions")
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


def drawn(folder, brains, empty):
    folder.mkdir(parents=True)
    write_json(folder / "cost.json", {"faintest": None})
    for number in range(1, brains + empty + 1):
        value = 0.5 if number <= brains else 0.0
        np.save(folder / f"volume-{number:04d}.npy", np.full((4, 4, 4), value, np.float32))


GRID = Grid((4, 4, 4), (4.0, 4.0, 4.0))


def test_volumes_without_a_brain_are_counted_and_told(benchmark, tmp_path):
    quality = benchmark("mri_quality")
    drawn(tmp_path / "joint", 12, 2)
    found = quality.Drawn.of(tmp_path / "joint", GRID)
    assert (len(found.volumes), found.empty) == (12, 2)
    assert found.words == "12 volumes scored, 2 WITHOUT A BRAIN left out"
    drawn(tmp_path / "paper", 3, 20)
    few = quality.Drawn.of(tmp_path / "paper", GRID)
    assert few.words == "3 volumes are too few to score, 20 WITHOUT A BRAIN left out"


def test_a_model_that_draws_hardly_any_brain_keeps_a_row(benchmark, tmp_path, monkeypatch):
    quality = benchmark("mri_quality")
    monkeypatch.setattr(quality, "predicted_bytes", lambda plan, use: 6)
    drawn(tmp_path / "joint", 3, 20)
    cost = {"parameters": 1, "train_seconds": 2.0, "steps": 3, "sample_seconds": 4.0}
    environment = {"device": "a machine"}
    write_json(
        tmp_path / "joint" / "cost.json",
        {**cost, "sample_flop": 5, "environment": environment, "faintest": None},
    )
    found, about = quality.score_models(None, tmp_path, GRID)
    assert not found
    (row,) = quality._rows("joint", found, about, [{"model": "joint", "samples": 64}], {})
    assert (row["samples"], row["empty"], row["steps"]) == (3, 20, 3)
    assert set(row) <= set(quality.COLUMNS)


def test_rows_hold_the_jumps_of_all_axes_seams_anywhere_and_near_volumes(benchmark):
    quality = benchmark("mri_quality")
    scores = scored("joint", 7, copied=1, near=3)
    through = replace(scores.through_plane, jumps=dict(zip(AXES, (0.1, 0.3, 0.2), strict=True)))
    for row in quality.rows_of(replace(scores, through_plane=through)):
        assert row["through_plane_ks"] == 0.3
        assert [row[f"through_plane_ks_{plane}"] for plane in PLANES] == [0.1, 0.3, 0.2]
        assert (row["seam_index"], row["seam_anywhere"]) == (0.96, 2.0)
        assert (row["copies"], row["near"]) == (1, 3)
        assert set(row) <= set(quality.COLUMNS)


def test_chance_is_told_of_each_axis_and_of_seams(benchmark, monkeypatch):
    quality = benchmark("mri_quality")
    monkeypatch.setattr(quality, "_CHANCES", 2)
    people = heads(16)
    found = quality.real_against_real(people, (9, 18), np.random.default_rng(0))
    order = [np.random.default_rng(0).permutation(16)][0]
    some, others = people[order[:12]], people[order[12:]]
    wanted = jump_distance(some, others, "height")
    low, high = found["through_plane_ks_coronal"]
    assert min(abs(wanted - low), abs(wanted - high)) < 0.06 * wanted
    assert low <= high <= found["through_plane_ks"][1]
    assert found["seam_anywhere"][0] > 0


def test_people_are_sought_among_the_others_and_twins_are_found(benchmark):
    quality = benchmark("mri_quality")
    people = heads(16)
    search = voxel_copies(people[:8], people[8:])
    alone = quality.near_one_another(search, people[:8])
    assert alone["people"] == 8
    twins = np.concatenate([people[:7], people[:1]])
    found = quality.near_one_another(voxel_copies(twins, people[8:]), twins)
    assert found["copies"] >= 2 > alone["copies"]


def test_committed_tables_have_the_columns_that_are_written(benchmark):
    quality = benchmark("mri_quality")
    for name in ("table.csv", "longer/table.csv"):
        with (FOLDER / "results" / "mri" / name).open() as file:
            assert tuple(next(csv.reader(file))) == quality.COLUMNS


def person(age_years, sex):
    voxels = np.full((4, 4, 4), 0.5, np.float32)
    return Subject("sub", Volume(voxels, Grid((4, 4, 4), (4.0,) * 3)), age_years, sex)


def test_people_of_unknown_age_or_sex_are_left_out(benchmark):
    conditions = benchmark("mri_conditions")
    people = (
        person(30.0, "male"),
        person(None, "male"),
        person(40.0, None),
        person(50.0, "female"),
    )
    volumes = np.stack([np.full((4, 4, 4), 0.1 * n, np.float32) for n in (1, 2, 3, 0)])
    known = conditions.Known.of(volumes, people)
    assert [one.age_years for one in known.people] == [30.0]
    assert known.volumes.shape == (1, 4, 4, 4)
    assert (known.unknown, known.empty) == (2, 1)


def test_the_law_of_phantoms_is_regressed_beside_them(benchmark):
    conditions = benchmark("mri_conditions")
    people = [person(float(age), sex) for age in range(20, 80, 3) for sex in ("male", "female")]
    found = conditions.law(people, 0)["ventricles"]
    ages = np.array([one.age_years for one in people])
    slope = np.polyfit(ages, 14 * np.exp((ages - 20) / 50), 1)[0]
    assert found.ten_years.value == pytest.approx(10 * slope, rel=1e-6)
    assert found.male.value == pytest.approx(0, abs=1e-6)
