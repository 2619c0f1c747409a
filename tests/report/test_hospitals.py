from dataclasses import replace

import pytest

from envoi.report import write_report
from envoi.report.distillation import taught
from envoi.report.findings import find
from envoi.report.hospitals import hospitals
from envoi.results import Interval, SiteMetrics, SiteResult

DASH = "\N{EN DASH}"
PARTS = {"kermany": 0.1, "nih": -0.1}


def apart(row, names=tuple(PARTS)):
    """The row with its test images parted: the first site better, the second worse."""

    def part(shift):
        value = row.metrics.accuracy.value + shift
        right = round(50 * value)
        return SiteMetrics(
            Interval(value, value - 0.05, value + 0.05),
            Interval(value, value - 0.05, value + 0.05),
            ((right, 50 - right), (0, 0)),
        )

    parts = {name: part(shift) for name, shift in zip(names, (0.1, -0.1), strict=False)}
    return replace(row, metrics=replace(row.metrics, by_site=parts))


@pytest.fixture
def chest(method, study):
    """A natural partition of two hospitals, whose test images are told apart."""
    rows = [
        apart(method(name, value))
        for name, value in {
            "pooled": 0.8,
            "local/site-1": 0.5,
            "local/site-2": 0.4,
            "ensemble_mean_logits": 0.7,
            "fedisca": 0.6,
        }.items()
    ]
    sites = tuple(
        SiteResult(f"site-{number}", "convnet-small", (10, 10), 9, 1.0, origin=name)
        for number, name in enumerate(PARTS, start=1)
    )
    return replace(study(*rows), partition="natural", sites=sites)


def table_of(result):
    findings = find(result)
    first = findings.student.name if findings.student else None
    return hospitals(result, findings, taught(result, first=first))


def test_teacher_student_own_network_and_pooled_on_each_hospitals_images(chest):
    table = table_of(chest)
    assert table.columns == ("Teacher", "Student", "Own network", "All together")
    first, second = table.rows
    assert (first.name, first.alias, first.images) == ("kermany", "site-1", 50)
    assert [cell.value for cell in first.cells] == ["80.0%", "70.0%", "60.0%", "90.0%"]
    assert [cell.value for cell in second.cells] == ["60.0%", "50.0%", "30.0%", "70.0%"]
    assert first.cells[1].detail == "65.0 to 75.0; balanced 70.0%"


def test_both_measures_are_drawn_from_teacher_to_student(chest):
    accuracy, balanced = table_of(chest).charts
    assert accuracy.title == "Accuracy on each site's test images"
    assert "kermany: teacher 80.0%, student 70.0%" in accuracy.svg
    assert balanced.title.startswith("Balanced accuracy")


def test_recalls_of_each_class_at_each_hospital(chest):
    assert table_of(chest).classes == (
        ("normal", ("80.0% → 70.0%", "60.0% → 50.0%")),
        ("pneumonia", (f"{DASH} → {DASH}",) * 2),
    )


def test_simulated_sites_are_no_hospitals_of_the_data_set(chest):
    """A dealt site may be called like a hospital; its network is no hospital's own."""
    named = tuple(replace(s, site=s.origin, origin="") for s in chest.sites)
    own = {f"local/{s.origin}": chest.methods[f"local/{s.site}"] for s in chest.sites}
    dealt = replace(chest, partition="iid", sites=named, methods={**chest.methods, **own})
    table = table_of(dealt)
    assert "Own network" not in table.columns
    assert [row.alias for row in table.rows] == ["", ""]
    real = table_of(replace(dealt, partition="natural"))
    assert [cell.value for cell in real.rows[0].cells][2] == "60.0%"
    assert [row.alias for row in real.rows] == ["", ""]


def test_without_a_teacher_the_student_is_shown_alone(chest):
    methods = {n: m for n, m in chest.methods.items() if not n.startswith("ensemble")}
    table = table_of(replace(chest, methods=methods))
    assert table.columns == ("Student", "Own network", "All together")
    assert (table.charts, table.classes) == ((), ())


def test_a_part_that_a_row_lacks_is_a_dash(chest):
    short = apart(chest.methods["pooled"], names=("kermany",))
    table = table_of(replace(chest, methods={**chest.methods, "pooled": short}))
    assert [row.cells[-1].value for row in table.rows] == ["90.0%", DASH]


def test_no_table_where_no_site_is_named(method, study):
    assert table_of(study(method("fedisca", 0.6))) is None
    assert table_of(study(apart(method("pooled", 0.6)))) is None


def test_the_report_tells_the_hospitals_apart(make_folder, chest):
    text = write_report(make_folder(chest)).read_text(encoding="utf-8")
    assert "Each site's own test images" in text
    assert "kermany<small>site-1 in this report</small>" in text
    assert "site-1<small>kermany in the data</small>" in text
    older = {
        name: replace(m, metrics=replace(m.metrics, by_site={}))
        for name, m in chest.methods.items()
    }
    text = write_report(make_folder(replace(chest, methods=older))).read_text(encoding="utf-8")
    assert "Each site's own test images" not in text
