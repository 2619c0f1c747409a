"""The comparison of hand-made runs: means, intervals, ratios, columns."""

import csv
import dataclasses
import io

import numpy as np
import pytest
from scipy import stats

from envoi.errors import DataError
from envoi.results import Interval, MethodResult, Metrics, RunFolder, SiteResult, StudyResult
from envoi.simulation.table import (
    Row,
    as_csv,
    as_markdown,
    comparison,
    local_best,
    read_runs,
)

COLUMNS = (
    *("dataset", "partition", "sites", "network", "method", "runs"),
    *("accuracy", "accuracy_low", "accuracy_high"),
    *("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high"),
    *("auroc", "ece", "ratio_accuracy", "ratio_balanced_accuracy"),
    *("server_seconds", "server_flop", "bytes_per_site", "peak_bytes", "device", "site_seconds"),
)
# Accuracy of each classifier in three runs; balanced accuracy is 0.2 less.
ACCURACIES = {
    "pooled": (0.90, 0.86, 0.88),
    "local/north": (0.60, 0.70, 0.50),
    "local/south": (0.64, 0.50, 0.66),
    "fedisca": (0.80, 0.70, 0.75),
}


def metrics_of(accuracy):
    def around(value):
        return Interval(value, value - 0.03, value + 0.02)

    return Metrics(
        around(accuracy), around(accuracy - 0.2), around(0.95), around(0.1), ((1, 0), (0, 1)), ()
    )


def method(name, accuracy, *, seconds=1.0, flop=0.0, moved=0, peak=0):
    return MethodResult(name, metrics_of(accuracy), seconds, flop, moved, peak)


def run(seed=0, *, methods=None, **changes):
    rows = {name: method(name, values[seed]) for name, values in ACCURACIES.items()}
    values = {
        "name": "cells",
        "partition": "iid",
        "network": "resnet18",
        "seed": seed,
        "class_names": ("a", "b"),
        "sites": tuple(SiteResult(s, "resnet18", (5, 5), 9, 1.0) for s in ("north", "south")),
        "methods": rows if methods is None else methods,
        "environment": {"device": "CPU"},
    }
    return StudyResult(**{**values, **changes})


def without(name, seed=0):
    whole = run(seed)
    return dataclasses.replace(
        whole, methods={key: row for key, row in whole.methods.items() if key != name}
    )


def row_of(rows, name):
    (row,) = [row for row in rows if row.method == name]
    return row


def test_one_row_for_each_method_references_first():
    rows = comparison([run(0), run(1), run(2)])
    assert [row.method for row in rows] == ["pooled", "local_best", "local_mean", "fedisca"]
    assert {(r.dataset, r.partition, r.sites, r.network, r.runs) for r in rows} == {
        ("cells", "iid", 2, "resnet18", 3)
    }


@pytest.mark.parametrize("name", ["pooled", "fedisca"])
def test_the_interval_of_several_runs_is_students(name):
    row = row_of(comparison([run(0), run(1), run(2)]), name)
    values = np.array(ACCURACIES[name])
    assert row.accuracy == pytest.approx(values.mean())
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    assert (row.accuracy_low, row.accuracy_high) == pytest.approx((low, min(high, 1)))
    assert row.balanced_accuracy == pytest.approx(values.mean() - 0.2)
    wanted = (low - 0.2, high - 0.2)
    assert (row.balanced_accuracy_low, row.balanced_accuracy_high) == pytest.approx(wanted)


def test_intervals_stay_between_zero_and_one():
    ends = [run(0, methods={n: method(n, v) for n, v in rows.items()}) for rows in (
        {"pooled": 0.99, "local/north": 0.2}, {"pooled": 0.8, "local/north": 0.7},
    )]  # fmt: skip
    rows = comparison(ends)
    assert row_of(rows, "pooled").accuracy_high == 1
    assert row_of(rows, "local_mean").balanced_accuracy_low == 0


def test_the_interval_of_a_single_run_is_its_bootstrap_interval():
    row = row_of(comparison([run(1)]), "fedisca")
    assert (row.runs, row.accuracy) == (1, 0.7)
    assert (row.accuracy_low, row.accuracy_high) == pytest.approx((0.67, 0.72))
    assert (row.balanced_accuracy_low, row.balanced_accuracy_high) == pytest.approx((0.47, 0.52))


def test_ratios_are_to_pooled_training():
    rows = comparison([run(0), run(1), run(2)])
    assert row_of(rows, "pooled").ratio_accuracy == 1
    assert row_of(rows, "fedisca").ratio_accuracy == pytest.approx(0.75 / 0.88)
    assert row_of(rows, "fedisca").ratio_balanced_accuracy == pytest.approx(0.55 / 0.68)


def test_the_best_site_is_chosen_for_each_measure():
    north, south = method("local/north", 0.8), method("local/south", 0.6, peak=7)
    better = dataclasses.replace(
        south.metrics,
        balanced_accuracy=Interval(0.9, 0.8, 0.95),
        ece=Interval(0.05, 0.01, 0.09),
        confusion=((2, 0), (0, 2)),
    )
    south = dataclasses.replace(south, metrics=better)
    rows = {"pooled": method("pooled", 0.9), "local/north": north, "local/south": south}
    best = local_best(run(methods=rows))
    assert (best.method, best.peak_bytes) == ("local_best", 7)
    assert best.metrics.accuracy == north.metrics.accuracy
    assert best.metrics.balanced_accuracy == Interval(0.9, 0.8, 0.95)
    assert (best.metrics.ece.value, best.metrics.confusion) == (0.05, ((2, 0), (0, 2)))
    row = row_of(comparison([run(methods=rows)]), "local_best")
    assert (row.accuracy, row.balanced_accuracy, row.ece) == (0.8, 0.9, 0.05)


def test_the_best_site_is_chosen_in_each_run_and_all_are_averaged():
    rows = comparison([run(0), run(1), run(2)])
    assert local_best(run(0)).metrics.accuracy.value == 0.64
    assert local_best(run(1)).metrics.accuracy.value == 0.70
    assert row_of(rows, "local_best").accuracy == pytest.approx((0.64 + 0.70 + 0.66) / 3)
    mean = row_of(rows, "local_mean")
    assert mean.accuracy == pytest.approx((0.62 + 0.60 + 0.58) / 3)
    low, _ = stats.t.interval(0.95, 2, 0.60, stats.sem([0.62, 0.60, 0.58]))
    assert mean.accuracy_low == pytest.approx(low)


def test_costs_are_means_and_what_was_needed_is_the_maximum():
    costs = [(10.0, 1e12, 100, 7), (20.0, 3e12, 300, 5)]
    runs = [
        run(seed, methods={
            **run(seed).methods,
            "fedisca": method("fedisca", 0.5, seconds=s, flop=f, moved=m, peak=p),
        }, environment={"device": device})
        for seed, ((s, f, m, p), device) in enumerate(zip(costs, ("H100", "CPU"), strict=True))
    ]  # fmt: skip
    row = row_of(comparison(runs), "fedisca")
    found = (row.server_seconds, row.server_flop, row.bytes_per_site, row.peak_bytes)
    assert found == (15.0, 2e12, 300, 7)
    assert row.device == "CPU; H100"
    assert row.auroc == pytest.approx(0.95)
    assert row.ece == pytest.approx(0.1)
    assert row_of(comparison([run(0, environment={})]), "fedisca").device == "unknown"


@pytest.mark.parametrize(
    "changes",
    [{"name": "other"}, {"partition": "dirichlet-0.1"}, {"network": "vgg8"}, {"sites": ()}],
)
def test_what_cannot_be_compared_is_not_averaged(changes):
    rows = comparison([run(0), run(1, **changes)])
    assert len(rows) == 8
    assert {row.runs for row in rows} == {1}


def test_groups_come_in_order_and_a_method_counts_its_own_runs():
    rows = comparison([run(0, name="z"), run(0), without("fedisca", 1)])
    assert [row.dataset for row in rows] == ["cells"] * 4 + ["z"] * 4
    cells = [row for row in rows if row.dataset == "cells"]
    assert (row_of(cells, "fedisca").runs, row_of(cells, "pooled").runs) == (1, 2)


def test_runs_without_test_images_are_refused():
    blind = run(0)
    blind.methods["fedisca"] = dataclasses.replace(blind.methods["fedisca"], metrics=None)
    with pytest.raises(DataError, match="fedisca: expected metrics, found none. Compare only runs"):
        comparison([blind])


@pytest.mark.parametrize(
    ("methods", "found"),
    [
        ({}, "found only nothing"),
        ({"fedisca": method("fedisca", 0.5)}, "found only fedisca"),
        ({"pooled": method("pooled", 0.5)}, "found only pooled"),
        ({"local/north": method("local/north", 0.5)}, "found only local/north"),
    ],
)
def test_runs_without_references_are_refused(methods, found):
    message = f"a run of cells: expected rows pooled and local/<site>, {found}. Compare only bench"
    with pytest.raises(DataError, match=message):
        comparison([run(0), run(1, methods=methods)])


def test_columns_are_a_contract():
    assert [field.name for field in dataclasses.fields(Row)] == list(COLUMNS)
    header, *lines = csv.reader(io.StringIO(as_csv(comparison([run(0)]))))
    assert header == list(COLUMNS)
    assert {len(line) for line in lines} == {22}


def test_csv_parses_back_to_four_digits():
    odd = run(0, name='cells, "large"')
    odd.methods["fedisca"] = method(
        "fedisca", 2 / 3, seconds=1234.5, flop=5.43e15, moved=44_700_000
    )
    rows = comparison([odd])
    for row, line in zip(rows, csv.DictReader(io.StringIO(as_csv(rows))), strict=True):
        for field in dataclasses.fields(Row):
            value = getattr(row, field.name)
            if isinstance(value, float):
                close = pytest.approx(value, abs=5.1e-5, rel=5.1e-4)
                assert float(line[field.name]) == close
            else:
                assert type(value)(line[field.name]) == value


def test_markdown_has_a_table_for_each_group():
    text = as_markdown(comparison([run(0), run(0, partition="dirichlet-0.1")]))
    assert text.count("### cells, ") == 2
    assert "### cells, iid, 2 sites, resnet18\n\n| method |" in text
    line = next(line for line in text.splitlines() if line.startswith("| fedisca"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:4] == ["fedisca", "1", "80.0 [77.0, 82.0]", "60.0 [57.0, 62.0]"]
    assert cells[6] == "0.86"
    assert text.count("Device: CPU.") == 2


def test_finished_runs_are_read_in_the_order_of_their_names(tmp_path):
    for number, folder in enumerate(("b", "a/deep", "c")):
        RunFolder(tmp_path / folder).write_result(run(number))
    (tmp_path / "unfinished").mkdir()
    assert [result.seed for result in read_runs(tmp_path)] == [1, 0, 2]
    assert len(comparison(read_runs(tmp_path))) == 4


def test_no_finished_run_is_told(tmp_path):
    (tmp_path / "runs").mkdir()
    message = "runs: expected at least one finished run, found none. Run `envoi bench run`."
    with pytest.raises(DataError, match=message):
        read_runs(tmp_path / "runs")
