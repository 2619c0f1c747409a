"""The README: its Python lines work as printed, its figures are those of the result files."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
COLUMNS = (
    "pooled",
    "local_best",
    "ensemble_mean_logits",
    "ensemble_class_count",
    "fedisca",
    "dense",
    "coboost",
    "ensemble_consensus",
    "closed_form",
    "envoi",
)


@pytest.mark.slow
def test_the_python_lines_run_and_print_a_metric_with_its_interval(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\]", done.stdout.strip())
    assert len(list((tmp_path / "runs/python/inbox").iterdir())) == 3


@pytest.mark.parametrize("name", ["skin28", "pneumoniamnist"])
def test_the_table_tells_what_was_measured(name):
    with (ROOT / "benchmarks" / "results" / "method" / "table.csv").open() as file:
        every = [row for row in csv.DictReader(file) if row["dataset"] == name]
    rows = {(row["partition"], row["method"]): row for row in every}
    told = re.findall(rf"^\| {name}, (\S+) \|(.*)\|$", README.read_text(), flags=re.MULTILINE)
    assert {partition for partition, _ in told} == {partition for partition, _ in rows}
    for partition, cells in told:
        found = [cell.strip(" *") for cell in cells.split("|")]
        assert found == [percents(rows.get((partition, method))) for method in COLUMNS]


def percents(row):
    """Accuracy and balanced accuracy, or a dash where the method was not run."""
    if row is None:
        return "-"
    return f"{100 * float(row['accuracy']):.1f} / {100 * float(row['balanced_accuracy']):.1f}"


PARTITIONS = ("iid", "dirichlet-0.6", "dirichlet-0.3", "dirichlet-0.1", "one-class")
PLAIN = tuple(
    f"ensemble_{rule}" for rule in ("mean_logits", "mean_probabilities", "size", "class_count")
)
PEERS = ("fedisca_ema", "dafl", "dense", "coboost")


def test_the_goals_are_told_as_they_were_met():
    with (ROOT / "benchmarks" / "results" / "method" / "table.csv").open() as file:
        rows = {
            (row["dataset"], row["partition"], row["method"]): row for row in csv.DictReader(file)
        }

    def value(data, partition, method, column="balanced_accuracy"):
        return float(rows[data, partition, method][column])

    def above(data, partition, methods):
        best = max(value(data, partition, method) for method in methods)
        return f"{100 * (value(data, partition, 'envoi') - best):+.1f}"

    text = (ROOT / "docs" / "method.md").read_text()
    for data in ("skin28", "pneumoniamnist"):
        told = {
            f"{data}, balanced accuracy": [
                f"{value(data, name, 'envoi', 'ratio_balanced_accuracy'):.3f}"
                for name in PARTITIONS
            ],
            f"{data}: `fedisca`": [above(data, name, ["fedisca"]) for name in PARTITIONS],
            f"{data}: the best of `fedisca_ema`, `dafl`, `dense`, `coboost`": [
                above(data, name, PEERS) for name in PARTITIONS
            ],
            f"{data}: the best of the four plain ensembles": [
                above(data, name, PLAIN) for name in PARTITIONS
            ],
            f"{data}: `closed_form`": [above(data, name, ["closed_form"]) for name in PARTITIONS],
            f"{data}: 100 rounds of FedAvg": [
                above(data, name, ["fedavg_rounds_100"]) for name in PARTITIONS
            ],
            data: [
                f"{value(data, name, 'envoi') / value(data, name, 'ensemble_consensus'):.3f}"
                for name in PARTITIONS
            ],
        }
        for first, wanted in told.items():
            (cells,) = re.findall(rf"^\| {re.escape(first)} \| (.*) \|$", text, flags=re.MULTILINE)
            assert [cell.split(" (")[0] for cell in cells.split(" | ")] == wanted


def test_the_demo_is_told_as_it_ended():
    summary = json.loads((ROOT / "benchmarks" / "results" / "demo" / "summary.json").read_text())
    text = README.read_text()
    for method in ("pooled", "envoi", "fedisca", "local_best", "fedavg", "ensemble_consensus"):
        assert f"{100 * summary[method]['accuracy']:.1f} %" in text
    assert f"the study took {summary['study']['wall_seconds']:.0f} s" in text


@pytest.mark.parametrize("page", ["README.md", "docs/method.md", "benchmarks/README.md"])
def test_no_page_has_a_gap(page):
    assert "@@" not in (ROOT / page).read_text()


def test_two_real_hospitals_are_told_as_they_were_measured():
    files = sorted((ROOT / "benchmarks" / "results" / "chest224").glob("*/result.json"))
    runs = [json.loads(file.read_text())["methods"] for file in files]
    assert len(runs) == 3
    names = {
        "pooled": "pooled",
        "the children's hospital alone": "local/site-1",
        "the adults' hospital alone": "local/site-2",
        "FedISCA's teacher (mean logits)": "ensemble_mean_logits",
        "networks alone": "ensemble_consensus_networks",
        "site gate": "ensemble_site_gate",
        "closed form": "closed_form",
        "teacher": "ensemble_consensus",
        "**`envoi`**": "envoi",
        "`fedisca`": "fedisca",
    }
    text = (ROOT / "docs" / "method.md").read_text()
    _, _, after = text.partition("Two real hospitals (`benchmarks/results/chest224/`")
    table, _, _ = after.partition("Each hospital's network")
    for first, method in names.items():
        (cells,) = re.findall(rf"^\| {re.escape(first)} \| (.*) \|$", table, flags=re.MULTILINE)
        found = [cell.strip("*") for cell in cells.split(" | ")]
        metrics = [run[method]["metrics"] for run in runs]
        measured = [
            metrics,
            *([m["by_site"][name] for m in metrics] for name in ("kermany", "nih")),
        ]
        wanted = [fmean(100 * m["balanced_accuracy"]["value"] for m in each) for each in measured]
        assert [float(cell) for cell in found] == pytest.approx(wanted, abs=0.051)


ABLATION = {
    "pooled training": "pooled",
    "teacher": "teacher",
    "student of the teacher on the real training images": "student on real images",
    "**`envoi`**: the same on drawn images": "envoi",
    "without the networks": "without networks",
    "without the closed form": "without closed form",
    "images by class counts, not their square root": "images by class counts",
    "images of the moments of all sites together": "images of the pooled moments",
    "procedural images, no moments in them": "procedural images",
    "images refined by the networks of their sites": "images refined by their sites",
    "Muon for the student's matrices": "Muon for matrices",
    "the same, each image answered by its own site alone": (
        "the same, and answers of an image's own site"
    ),
}


def test_the_ablation_is_told_as_it_was_measured():
    folder, text = ROOT / "benchmarks" / "results" / "ablation", (ROOT / "docs" / "method.md")
    runs = [
        json.loads((folder / f"skin28_{split}.json").read_text())["seeds"]["0"]
        for split in ("dirichlet-0.3", "one-class")
    ]
    _, _, after = text.read_text().partition("| | Dirichlet 0.3 | one class per site |")
    table, _, _ = after.partition("\n\n")
    for first, name in ABLATION.items():
        (cells,) = re.findall(rf"^\| {re.escape(first)} \| (.*) \|$", table, flags=re.MULTILINE)
        assert cells.split(" | ") == [percents(run[name]) for run in runs]
