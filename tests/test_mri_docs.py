"""docs/mri.md: its Python lines work as printed, and its tables are those of the result files."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean

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
    before, _, _ = section("Measured: equal training time").partition("**Longer training**")
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
    met = f"`random_conv` met: {sagittal[0]:.2f}; `self_trained` missed: {sagittal[1]:.2f} |"
    assert met in goals
    assert sagittal[0] < 1.2 < sagittal[1]
    longer = next(row for row in rows_of("longer/table.csv") if row["model"] == "joint")
    effects = [float(longer[name]) for name in EFFECTS]
    assert f"met, all four: {', '.join(f'{effect:.2f}' for effect in effects)} |" in goals
    assert max(map(abs, effects)) < 0.5
    worst = [f"missed: {float(row['through_plane_ks']):.3f}" for row in (random, longer)]
    assert f"| {worst[0]} | {worst[1]} |" in goals
    (seams,) = re.findall(r"^\| seams anywhere .*\|$", goals, flags=re.MULTILINE)
    for row, told in zip((random, longer), seams.split("|")[2:4], strict=True):
        anywhere = row["seam_anywhere"]
        assert (f": {float(anywhere):.1f}" if anywhere else "not measured yet") in told
    assert f"{random['copies']} of {random['samples']};" in goals
    assert f"{longer['copies']} of {longer['samples']}, of the same coarse volume |" in goals


def test_the_goal_of_memory_is_told_of_small_networks_too():
    found = {
        (row["model"], row["phase"]): int(row["predicted_bytes"])
        for row in rows_of("memory.csv")
        if (row["size"], row["precision"]) == ("128", "fp32")
    }

    def times(model):
        phases = ("sample", "train")
        return [found[model, phase] / found["joint", phase] for phase in phases]

    (goal,) = re.findall(r"^\| memory at 128 .*$", section("Goals, met and missed"), re.MULTILINE)
    own, small = goal.split("made as small as in the table")
    told = [*times("full3d"), *times("paper")]
    assert "{:.0f} and {:.0f} times, {:.0f} and {:.0f} times".format(*told) in own
    assert "full 3D takes {:.0f} and {:.0f} times as much".format(*times("full3d-small")) in small
    sampling, training = times("paper-small")
    assert f"`paper` {sampling:.1f} and {training:.1f} times (both missed)" in small
    assert sampling < training < 5


def test_measured_memory_is_as_far_from_the_prediction_as_told():
    apart = [
        int(row["measured_bytes"]) / int(row["predicted_bytes"]) - 1
        for row in rows_of("memory.csv")
        if row["measured_bytes"] and row["precision"] == "fp32" and "-small" not in row["model"]
    ]
    told = (
        f"between {-100 * min(apart):.0f} % less and {100 * max(apart):.0f} % more than predicted"
    )
    assert told in section("Memory, predicted and measured")
    assert max(map(abs, apart)) < 0.15


@pytest.mark.parametrize("model", ["real", "joint"])
def test_the_table_of_longer_training_is_that_of_the_file(model):
    _, _, after = section("Measured: equal training time").partition("**Longer training**")
    random, trained = (row for row in rows_of("longer/table.csv") if row["model"] == model)
    first = "real" if model == "real" else f"`{model}`"
    steps, *scores = cells_of(first, after)  # the only row of its name
    assert steps == ([random["steps"]] if random["steps"] else [])
    wanted = [
        [random[name] for name in FRECHET],
        [trained[name] for name in FRECHET],
        [random["ms_ssim"]],
        [random["through_plane_ks"]],
        [random[name] for name in EFFECTS],
        [random["near"], random["samples"]],
        [random["copies"], random["samples"]],
    ]
    for told, values in zip(scores, wanted, strict=True):
        assert all(map(is_rounded, told, map(float, values)))
        assert len(told) == len(values)


def test_completion_is_that_of_the_file_and_its_command_is_printed():
    given = json.loads((RESULTS / "complete.json").read_text())["given"]
    text = section("Completion, measured")
    (command,) = re.findall(r"^    (python benchmarks/mri_complete.py .*)$", text, re.MULTILINE)
    assert f"`{command}`" in (ROOT / "benchmarks" / "README.md").read_text()
    rows = {
        "`joint`, one volume": "joint, one",
        "`joint`, mean of two": "joint, mean of 2",
        "linear interpolation": "linear",
        "cubic splines": "cubic",
    }
    for first, way in rows.items():
        wanted = [
            given[cut][way][name]
            for cut in ("every 4", "every 8")
            for name in ("mean_absolute", "sharpness")
        ]
        told = [cell for (cell,) in cells_of(first, text)]
        assert all(map(is_rounded, told, wanted))


@pytest.mark.parametrize(("model", "first"), [("real", "people"), ("joint", "drawn, 12 minutes")])
def test_age_and_sex_are_those_of_the_file(model, first):
    found = json.loads((RESULTS / "conditions.json").read_text())["millilitres"][model]
    (row,) = re.findall(rf"^\| {first} \|(.*)\|$", DOCUMENT.read_text(), flags=re.MULTILINE)
    cells = row.split("|")
    wanted = [
        *((region, "male") for region in ("brain", "grey", "white")),
        *((region, "ten_years") for region in ("grey", "ventricles")),
    ]
    for cell, (region, what) in zip(cells, wanted, strict=True):
        interval = found[region][what]
        for told, end in zip(re.findall(r"-?[\d.]+", cell), interval.values(), strict=True):
            assert is_rounded(told, end)


@pytest.mark.parametrize(
    ("first", "way"),
    [
        ("as it is", "as it is"),
        ("without agreement", "without agreement"),
        ("in equal steps that do not look ahead", "equal steps"),
        ("in half the steps, 10", "half the steps"),
        ("in twice the steps, 40", "twice the steps"),
        ("each step the mean of two cuts", "two cuts"),
    ],
)
def test_what_ways_of_drawing_bring_is_that_of_the_file(first, way):
    found = json.loads((RESULTS / "drawing.json").read_text())["ways"][way]
    distances, similarity, spread = cells_of(first, section("Measured: equal training time"))
    assert all(map(is_rounded, distances, found["frechet"].values()))
    assert is_rounded(*similarity, found["ms_ssim"])
    assert is_rounded(*spread, found["spread"])


def test_finer_steps_and_more_cuts_leave_the_jumps_as_they_are():
    ways = json.loads((RESULTS / "drawing.json").read_text())["ways"]
    (told,) = re.findall(r"\(([\d.]+) in each of the three\)", DOCUMENT.read_text())
    for way in ("as it is", "twice the steps", "two cuts"):
        assert abs(max(ways[way]["jumps"].values()) - float(told)) < 1e-3


def test_people_that_count_as_near_one_another_are_those_of_the_file():
    spaces = json.loads((RESULTS / "controls.json").read_text())["people_among_the_others"]
    near = [spaces[space]["near"] for space in ("voxels", "features")]
    assert [one["copies"] for one in spaces.values()] == [0, 0]
    assert [one["people"] for one in spaces.values()] == [60, 60]
    told = "{} count as near in voxels and {} in features, and none as a copy".format(*near)
    assert told in " ".join(section("Measured: equal training time").split())


def test_outlines_are_those_of_the_file():
    found = json.loads((RESULTS / "outline.json").read_text())
    drawn, people = found["drawn"], found["people"]
    told = " ".join(section("How `joint` works").split())
    for words in (
        f"a Dice coefficient of {found['dice_of_coarse_distances']:.3f}.",
        f"{drawn['millilitres']:.0f} ml (deviation {drawn['deviation']:.0f})",
        f"{people['millilitres']:.0f} ({people['deviation']:.0f})",
        f"{drawn['faces']:.3f} and {people['faces']:.3f})",
        "{:.3f} and {:.3f}".format(*found["dice_between_given_slices"].values()),
        f"strangers to {found['dice_of_strangers']:.3f}",
    ):
        assert words in told


def test_what_parts_of_joint_bring_is_that_of_the_file():
    found = json.loads((RESULTS / "ablation.json").read_text())
    told = " ".join(
        section("Goals, met and missed").split("What parts of `joint` bring")[1].split()
    )
    assert f"{found['steps']} steps" in told
    for words, name in {
        "`benchmarks/results/mri/ablation.json`):": "joint",
        "with AdamW in place of Muon": "AdamW for all weights",
        "(flow matching) in place of v": "flow matching's velocity in place of v",
        "with a constant rate": "constant rate",
    }.items():
        (value,) = re.findall(rf"{re.escape(words)} (0\.\d+)", told)
        by_seed = [one["slab"] for one in found["variants"][name].values()]
        assert len(by_seed) == 3
        assert is_rounded(value, fmean(by_seed))


def test_the_time_of_the_demonstration_is_that_of_the_file():
    text = DOCUMENT.read_text()
    demo = json.loads((RESULTS / "demo" / "summary.json").read_text())
    (goal,) = re.findall(r"^\| `envoi mri demo` .*$", text, re.MULTILINE)
    told = re.findall(r"([\d.]+) minutes;", goal)
    seconds = sum(demo.get("seconds", {}).values())
    assert [float(one) for one in told] == ([round(seconds / 60, 1)] if seconds else [])


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
