import math
import re

import pytest

from envoi.report.curves import distillation_courses, site_curves
from envoi.results import StepInfo


def epoch(site: str, number: int, **losses: float) -> StepInfo:
    return StepInfo(f"{site}/train", number, 10, losses, epoch=number)


def lines(chart) -> int:
    return len(re.findall(r'id="[^"]*line2d_', chart.svg))


def test_sites_and_pooled_each_have_a_line(steps):
    loss, accuracy = site_curves(steps)
    assert (loss.title, accuracy.title) == ("Training loss", "Validation accuracy")
    names = [key.label for key in loss.keys]
    assert names == [
        "aarhus",
        "bern",
        "coimbra",
        "dresden",
        "espoo",
        "all images together (dashed)",
    ]
    assert "lower is better" in loss.reading
    assert "higher is better" in accuracy.reading


def test_step_losses_stand_in_for_missing_epoch_losses():
    (chart,) = site_curves(
        [epoch("a", 1, loss=2.0), epoch("a", 1, loss=1.0), epoch("a", 2, loss=1)]
    )
    assert chart.title == "Training loss"


def test_one_epoch_is_a_dot():
    (chart,) = site_curves([epoch("a", 1, train_loss=1.0)])
    assert "<use" in chart.svg


def test_many_sites_share_a_colour():
    (chart,) = site_curves([epoch(f"s{i}", n, train_loss=1 / n) for i in range(30) for n in (1, 2)])
    assert [key.label for key in chart.keys] == ["each of 30 sites"]


def test_values_that_are_not_finite_are_left_out():
    told = [epoch("a", 1, train_loss=math.nan), epoch("b", 1, train_loss=1.0)]
    (chart,) = site_curves(told)
    assert [key.label for key in chart.keys] == ["b"]
    assert site_curves([epoch("a", 1, train_loss=math.inf)]) == ()
    assert distillation_courses([StepInfo("fedisca", 1, 2, {"x": math.nan})]) == ()


def test_a_server_job_has_a_chart_for_each_term(steps):
    (course,) = distillation_courses(steps)
    assert course.title == "FedISCA student"
    assert [chart.title for chart in course.charts] == [
        "Class loss of the synthetic images",
        "Total variation of the synthetic images",
        "Distance to the sites' batch-norm statistics",
        "Distillation loss of the student",
    ]


@pytest.mark.parametrize("count", [1, 2, 119, 120, 121, 5000])
def test_any_number_of_steps_can_be_drawn(count):
    told = [StepInfo("fedisca", n + 1, count, {"loss": 1 / (n + 1)}) for n in range(count)]
    (course,) = distillation_courses(told)
    assert len(course.charts[0].svg) < 60_000


def test_no_steps_no_charts():
    assert site_curves([]) == ()
    assert distillation_courses([]) == ()


def test_no_mathematical_markup_is_left_in_a_chart_with_a_logarithmic_axis():
    steps = [
        StepInfo("fedisca", step, 400, {"class_loss": 1000.0 * 0.97**step})
        for step in range(1, 400)
    ]
    (panel,) = [chart for course in distillation_courses(steps) for chart in course.charts]
    assert "mathdefault" not in panel.svg


def test_learning_in_rounds_is_drawn_by_round_and_is_not_the_servers():
    told = [
        StepInfo("fedprox_rounds", n, 9, {"train_loss": 1 / n, "validation_accuracy": 0.5}, n)
        for n in range(1, 10)
    ]
    (course,) = distillation_courses(told)
    assert (course.place, course.title) == ("In rounds", "FedProx")
    assert [chart.title for chart in course.charts] == ["Training loss", "Validation accuracy"]
    assert ">round<" in course.charts[0].svg
    assert "the images that only validate at all sites" in course.reading
