"""The README: its Python lines work as printed, its figures are those of the result files."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

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


def test_the_demo_is_told_as_it_ended():
    summary = json.loads((ROOT / "benchmarks" / "results" / "demo" / "summary.json").read_text())
    text = README.read_text()
    for method in ("pooled", "envoi", "fedisca", "local_best", "fedavg", "ensemble_consensus"):
        assert f"{100 * summary[method]['accuracy']:.1f} %" in text
    assert f"the study took {summary['study']['wall_seconds']:.0f} s" in text


@pytest.mark.parametrize("page", ["README.md", "docs/method.md", "benchmarks/README.md"])
def test_no_page_has_a_gap(page):
    assert "@@" not in (ROOT / page).read_text()
