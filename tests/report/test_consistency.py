from dataclasses import replace

import pytest

from envoi.errors import StorageError
from envoi.report.consistency import check
from envoi.results import Distillation, Interval, Say, SiteMetrics

HALF = Interval(0.5, 0.4, 0.6)
THREE = ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def wrong_parts(row):
    odd = replace(row.metrics, confusion=THREE)
    part = SiteMetrics(HALF, HALF, THREE)
    return {
        "confusion": replace(row, metrics=odd),
        "columns": replace(row, metrics=replace(row.metrics, confusion=((1, 0, 0), (0, 1, 0)))),
        "a site": replace(row, metrics=replace(row.metrics, by_site={"a": part})),
        "teacher": replace(row, distillation=Distillation(odd, (None, None), HALF)),
        "recalls": replace(row, distillation=Distillation(row.metrics, (None,) * 3, HALF)),
        "says": replace(row, says=(Say("a", (1.0, 0.0, 0.0)),)),
    }


@pytest.mark.parametrize("part", ["confusion", "columns", "a site", "teacher", "recalls", "says"])
def test_a_part_that_tells_of_other_classes_is_refused(part, method, study):
    row = wrong_parts(method("fedisca", 0.5))[part]
    with pytest.raises(StorageError, match=r"result.json, fedisca: expected 2 classes, found 3"):
        check(study(row))


def test_all_such_places_are_named_at_once(method, study):
    wrong = replace(study(method("fedisca", 0.5)), class_names=("a", "b", "c"))
    with pytest.raises(StorageError) as caught:
        check(wrong)
    assert [problem.where for problem in caught.value.problems] == [
        "result.json, a",
        "result.json, b",
        "result.json, fedisca",
    ]


def test_a_result_that_fits_itself_passes(method, study, result):
    check(result)
    row = method("fedisca", 0.5)
    kept = Distillation(row.metrics, (None, None), HALF)
    check(study(replace(row, distillation=kept, says=(Say("a", (1.0, 0.0)),))))
