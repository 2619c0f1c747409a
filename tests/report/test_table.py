from dataclasses import replace

from envoi.report.findings import find
from envoi.report.table import COSTS, MEASURES, comparison_rows, site_rows


def test_every_measure_and_cost_of_a_method(method, study):
    pooled, row = comparison_rows(find(study(method("pooled", 0.8), method("fedisca", 0.6))))
    assert [len(pooled.measures), len(pooled.costs)] == [len(MEASURES), len(COSTS)]
    assert [(cell.value, cell.detail) for cell in row.measures] == [
        ("60.0%", "58.0 to 62.0"),
        ("60.0%", "58.0 to 62.0"),
        ("0.800", "0.780 to 0.820"),
        ("0.100", "0.080 to 0.120"),
        ("75%", "balanced 75%"),
    ]
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in row.costs] == [
        "1 min 34 s",
        "163 kB",
        "412 MB",
    ]
    assert (row.kind, pooled.kind) == ("chosen", "pooled")
    assert pooled.costs[1] == "\N{EN DASH}"


def test_the_best_but_pooled_is_marked(method, study):
    lower_ece = method("fedavg", 0.5)
    interval = replace(lower_ece.metrics.ece, value=0.05)
    rows = comparison_rows(
        find(
            study(
                method("pooled", 0.9),
                method("fedisca", 0.6, balanced=0.3),
                replace(lower_ece, metrics=replace(lower_ece.metrics, ece=interval)),
            )
        )
    )
    marks = {row.title: [cell.best for cell in row.measures] for row in rows}
    assert marks["All images together (upper reference)"] == [False] * 5
    assert marks["FedISCA student"] == [True, False, True, False, True]
    assert marks["Weight average, one shot"] == [False, True, True, True, False]


def test_sites_have_a_table_of_their_own(method, study):
    sites = [method("local/a", 0.5), method("local/b", 0.6), method("local/c", 0.4)]
    found = find(study(method("fedisca", 0.7), *sites))
    assert [row.title for row in comparison_rows(found)] == [
        "FedISCA student",
        "Best site alone: b",
    ]
    assert comparison_rows(found)[1].gloss == (
        "by accuracy and balanced accuracy, chosen on the test images"
    )
    rows = site_rows(found)
    assert [row.title for row in rows] == ["a alone", "b alone", "c alone"]
    assert [row.measures[0].best for row in rows] == [False, True, False]


def test_one_site_needs_no_second_table(method, study):
    assert site_rows(find(study(method("fedisca", 0.7), method("local/a", 0.5)))) == ()


def test_a_method_that_was_not_tested_has_costs_alone(method, study):
    untested = replace(method("fedavg", 0.5), metrics=None)
    rows = comparison_rows(find(study(method("fedisca", 0.7), untested)))
    assert rows[1].measures == ()
    assert len(rows[1].costs) == 3


def test_no_ratio_without_pooled(method, study):
    (row,) = comparison_rows(find(study(method("fedisca", 0.7))))
    assert row.measures[-1].value == "\N{EN DASH}"
    assert not row.measures[-1].best


def test_a_pooled_network_that_is_never_right_gives_no_ratio(method, study):
    rows = comparison_rows(find(study(method("pooled", 0.0), method("fedisca", 0.7))))
    assert rows[1].measures[-1].value == "\N{EN DASH}"
