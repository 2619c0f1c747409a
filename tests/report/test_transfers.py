import re
from dataclasses import replace

import pytest

from envoi.report import write_report
from envoi.report.findings import find
from envoi.report.table import comparison_rows
from envoi.report.transfers import transfers
from envoi.results import RunFolder


def words(chart) -> list[str]:
    found = re.findall(r"<text[^>]*>([^<]*)</text>", chart.svg)
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in found]


@pytest.fixture
def ran(method, study):
    """A study that ran one-shot methods and rounds of two algorithms beside them."""
    rounds = [
        replace(
            method(f"{algorithm}_rounds_{count}", 0.5 + count / 500),
            bytes_per_site=600_000 * count,
            site_seconds=65.0 * count,
        )
        for algorithm in ("fedavg", "fedprox")
        for count in (1, 2, 20, 100)
    ]
    return study(method("pooled", 0.8), method("fedavg", 0.4), method("fedisca", 0.6), *rounds)


def test_rounds_stand_beside_the_one_shot_methods_by_their_bytes(ran):
    accuracy, balanced = transfers(ran, find(ran))
    assert accuracy.title == "Accuracy by bytes moved"
    assert balanced.title == "Balanced accuracy by bytes moved"
    assert [key.label for key in accuracy.keys] == [
        "FedISCA student",
        "other one-shot methods",
        "Federated averaging, by rounds",
        "FedProx, by rounds",
        "all images together, 80.0% (dashed)",
    ]
    assert {"163 kB", "one file", "600 kB", "1 round", "60.0 MB", "100 rounds"} <= set(
        words(accuracy)
    )
    assert "FedProx, 20 rounds 12.0 MB 54.0%" in accuracy.svg
    assert "receives the average" in accuracy.reading


def test_the_images_that_pooled_training_moves_are_no_one_shot_method(ran):
    pooled = replace(ran.methods["pooled"], bytes_per_site=3_500_000)
    moved = replace(ran, methods={**ran.methods, "pooled": pooled})
    for chart in transfers(moved, find(moved)):
        assert "All images together" not in chart.svg
        assert "3.50 MB" not in words(chart)


def test_the_axis_names_only_what_has_room(ran):
    accuracy, _ = transfers(ran, find(ran))
    shown = words(accuracy)
    assert "2 rounds" not in shown
    assert {"one file", "1 round", "20 rounds", "100 rounds"} <= set(shown)


def test_only_measured_rounds_are_drawn(ran, study, method):
    once = study(method("fedisca", 0.6))
    assert transfers(once, find(once)) == ()
    untested = study(method("fedisca", 0.6), replace(method("fedavg_rounds_5", 0.5), metrics=None))
    assert transfers(untested, find(untested)) == ()


def test_one_row_of_rounds_alone_can_be_drawn(study, method):
    alone = study(method("fedavg_rounds_5", 0.5))
    assert len(transfers(alone, find(alone))) == 2
    named = study(method("my_rounds", 0.5), method("fedisca", 0.6))
    assert "my rounds, by rounds" in [key.label for key in transfers(named, find(named))[0].keys]


def test_a_report_with_measured_rounds_computes_none(ran, tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_result(ran)
    page = write_report(folder).read_text(encoding="utf-8")
    assert "Accuracy by bytes moved" in page
    assert "a computation, not a measurement" not in page
    folder.write_result(replace(ran, methods={"fedisca": ran.methods["fedisca"]}))
    page = write_report(folder).read_text(encoding="utf-8")
    assert "Accuracy by bytes moved" not in page
    assert "a computation, not a measurement" in page


def test_the_table_tells_what_sites_trained_for_it(ran):
    rows = {row.title: row for row in comparison_rows(find(ran))}
    gloss = rows["Federated averaging, 1 round"].gloss.replace("\N{NO-BREAK SPACE}", " ")
    assert gloss == "sites trained 1 min 05 s for it in all"
    assert "sites trained" not in rows["FedISCA student"].gloss
