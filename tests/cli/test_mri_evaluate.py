"""`envoi mri evaluate`: a table, a file of all scores, and what it refuses."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from envoi.cli import app

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, ["mri", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    out = tmp_path_factory.mktemp("brains") / "real"
    size = ("--shape", "32x32x32", "--spacing-mm", 6)
    assert run("phantom", "--subjects", 8, "--out", out, *size).exit_code == 0
    return out


@pytest.mark.slow
def test_copies_of_training_brains_are_found_and_real_ones_are_no_copies(brains, tmp_path):
    synthetic, scores = tmp_path / "made", tmp_path / "scores.json"
    synthetic.mkdir()
    for number in range(1, 9):
        shutil.copy(brains / f"sub-{number:02d}_T1w.nii.gz", synthetic)
    found = run("evaluate", brains, "--synthetic", synthetic, "--held-out", 2, "--out", scores)
    assert found.exit_code == 0, found.output
    rows = [line.split()[0] for line in found.output.splitlines()]
    assert {"set", "synthetic", "held-out", "blurred", "copied"} <= set(rows)
    told = json.loads(scores.read_text())
    assert (told["training_volumes"], told["synthetic"]["volumes"]) == (6, 8)
    assert max(one["copied"] for one in told["synthetic"]["copies"]) >= 6
    assert told["shape"] == [32, 32, 32]


def test_a_folder_of_too_few_volumes_is_refused(brains, tmp_path):
    found = run("evaluate", brains, "--synthetic", tmp_path, "--held-out", 2, "--out", "x.json")
    assert found.exit_code == 3
    assert "two volumes at least" in found.output


def test_volumes_of_another_grid_are_refused(brains, tmp_path):
    other = tmp_path / "other"
    size = ("--shape", "27x32x27", "--spacing-mm", 6)
    assert run("phantom", "--subjects", 2, "--out", other, *size).exit_code == 0
    found = run(
        "evaluate", brains, "--synthetic", other, "--held-out", 2, "--out", tmp_path / "x.json"
    )
    assert found.exit_code == 3
    assert "spacing that the model learned from" in found.output
    assert not (tmp_path / "x.json").exists()
