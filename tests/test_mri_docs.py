"""docs/mri.md: its Python lines work as printed, and its tables are those of the result files."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from envoi.data.nifti import read_nifti

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "mri.md"
RESULTS = ROOT / "benchmarks" / "results" / "mri"
EFFECTS = ("effect_grey", "effect_white", "effect_csf", "effect_ventricles")
FRECHET = ("frechet_axial", "frechet_coronal", "frechet_sagittal")


def rows_of(name):
    with (RESULTS / name).open() as file:
        return list(csv.DictReader(file))


def cells_of(first, text):
    """The numbers of each cell of the only row of a table that begins so."""
    (row,) = re.findall(rf"^\| {re.escape(first)}[^|]*\|(.*)\|$", text, flags=re.MULTILINE)
    return [re.findall(r"-?\d+(?:\.\d+)?", cell) for cell in row.split("|")]


def is_rounded(told, value):
    decimals = len(told.partition(".")[2])
    return abs(float(told) - value) <= 0.501 * 10**-decimals


def section(title):
    """From one heading to the next."""
    (text,) = re.findall(rf"^## {title}\n(.*?)^## ", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    return text


@pytest.mark.parametrize("model", ["real", "joint", "wavelet3d", "full3d", "paper"])
def test_the_table_of_equal_time_is_that_of_the_file(model):
    before, _, _ = section("Measured: equal training time").partition("**Longer training.**")
    random, trained = (row for row in rows_of("table.csv") if row["model"] == model)
    assert (random["extractor"], trained["extractor"]) == ("random_conv", "self_trained")
    first = "real" if model == "real" else f"`{model}`"
    size, steps, cost, *scores = cells_of(first, before)
    if model != "real":
        assert is_rounded(size[0], int(random["parameters"]) / 1e6)
        assert steps == [random["steps"]]
        assert is_rounded(cost[0], float(random["sample_seconds"]))
        assert is_rounded(cost[1], float(random["sample_flop"]) / 1e12)
    wanted = [
        [random[name] for name in FRECHET],
        [trained[name] for name in FRECHET],
        [random["through_plane_ks"]],
        [random[name] for name in EFFECTS],
    ]
    for told, values in zip(scores, wanted, strict=True):
        assert all(map(is_rounded, told, map(float, values)))
        assert len(told) == len(values)


@pytest.mark.parametrize("mode", ["joint", "paper", "wavelet3d", "full3d"])
def test_predictions_of_memory_are_those_of_the_file(mode):
    found = {
        row["phase"]: int(row["predicted_bytes"]) / 2**30
        for row in rows_of("memory.csv")
        if (row["model"], row["size"], row["precision"]) == (mode, "128", "fp32")
    }
    (sampling,), (training,) = cells_of(f"`{mode}`", section("Memory, predicted and measured"))
    assert is_rounded(sampling, found["sample"])
    assert is_rounded(training, found["train"])


def test_goals_that_are_met_are_met_by_the_file():
    random, trained = (row for row in rows_of("table.csv") if row["model"] == "joint")
    others = [
        row for row in rows_of("table.csv") if row["model"] in ("paper", "wavelet3d", "full3d")
    ]
    for own in (random, trained):
        peers = [row for row in others if row["extractor"] == own["extractor"]]
        assert all(float(own[name]) < float(row[name]) for row in peers for name in FRECHET)
    goals = section("Goals, met and missed")
    sagittal = [
        float(row["frechet_sagittal"]) / float(row["frechet_axial"]) for row in (random, trained)
    ]
    assert (
        f"{sagittal[0]:.2f} by `random_conv`, missed by `self_trained`: {sagittal[1]:.2f}" in goals
    )
    assert f"missed: {float(random['through_plane_ks']):.3f}" in goals
    assert f"met: {float(random['seam_index']):.3f}" in goals
    assert f"{random['copies']} of {random['samples']};" in goals


@pytest.mark.slow
def test_the_python_lines_train_draw_and_complete(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    made = [sys.executable, "-m", "envoi", "mri", "phantom", "--subjects", "6", "--out", "brains"]
    check = "assert completed.grid.is_like(volume.grid)"
    # Two threads that wait for each other on a busy machine are many times slower than one.
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    for command in (made, [sys.executable, "-c", f"{code}\n{check}"]):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env=alone
        )
        assert done.returncode == 0, done.stderr
    volume = read_nifti(tmp_path / "synthetic.nii.gz")
    assert volume.grid.shape == (24, 28, 24)
    assert '"Seed": 0' in (tmp_path / "synthetic.json").read_text()
