import re
from dataclasses import replace

import pytest

from envoi.report import write_report
from envoi.report.teaching import teaching
from envoi.results import CLOSED_FORM, Say

SAYS = (Say("a", (0.1, 0.4)), Say("b", (0.4, 0.0)), Say(CLOSED_FORM, (0.5, 0.6)))


def numbers(chart) -> list[str]:
    return [word for word in re.findall(r"<text[^>]*>([^<]*)</text>", chart.svg) if word.isdigit()]


@pytest.fixture
def told(method, study):
    return study(replace(method("envoi", 0.6), says=SAYS))


def test_images_and_say_stand_side_by_side(told):
    shown = teaching(told, first="envoi")
    assert shown.title == "Which site taught which class"
    images, says = shown.charts
    # Sites of (100, 300) and (400, 10) images.
    assert numbers(images) == ["20", "80", "97", "3"]
    assert numbers(says) == ["10", "40", "50", "40", "60"]
    assert "linear classifier on the moments of all sites" in says.reading


def test_the_leading_networks_are_named(told):
    assert teaching(told, first="envoi").summary == (
        "Among the sites' networks the teacher listens most to a on “pneumonia”; to b on “normal”."
    )


def test_a_site_that_leads_on_all_classes_is_not_listed_with_them(told):
    says = (Say("a", (0.9, 0.8)), Say("b", (0.1, 0.2)))
    led = replace(told, methods={"envoi": replace(told.methods["envoi"], says=says)})
    assert teaching(led, first="envoi").summary.endswith("listens most to a on every class.")


def test_where_no_network_counts_the_closed_form_alone_is_named(told):
    silent = tuple(Say(name, (0.0, 0.0)) for name in ("a", "b"))
    says = (*silent, Say(CLOSED_FORM, (1.0, 1.0)))
    alone = replace(told, methods={"envoi": replace(told.methods["envoi"], says=says)})
    assert teaching(alone, first="envoi").summary == (
        "No site's network has a say on any class: the closed form alone answers."
    )


def test_the_student_that_the_run_is_about_tells_first(told, method):
    other = replace(method("mine", 0.5), says=(Say("a", (1.0, 1.0)),))
    both = replace(told, methods={"mine": other, **told.methods})
    assert numbers(teaching(both, first="envoi").charts[1])[:3] == ["10", "40", "50"]
    assert numbers(teaching(both, first="mine").charts[1]) == ["100", "100"]
    untested = replace(told.methods["envoi"], metrics=None)
    assert len(teaching(replace(told, methods={"envoi": untested}), first=None).charts) == 2


def test_an_older_result_tells_where_the_images_are(method, study):
    shown = teaching(study(method("envoi", 0.6)), first="envoi")
    assert (shown.title, shown.summary) == ("Which site holds which class", "")
    assert len(shown.charts) == 1


def test_nothing_is_shown_where_no_site_counts(told):
    silent = tuple(replace(site, class_counts=(0, 0)) for site in told.sites)
    assert teaching(replace(told, sites=silent), first="envoi") is None
    assert teaching(replace(told, sites=()), first="envoi") is None


def test_a_class_of_no_site_can_be_drawn(told):
    sites = tuple(replace(site, class_counts=(5, 0)) for site in told.sites)
    assert numbers(teaching(replace(told, sites=sites), first="envoi").charts[0]) == ["50", "50"]


def test_many_sites_are_numbered(told):
    sites = tuple(replace(told.sites[0], site=f"hospital-{n}") for n in range(20))
    chart = teaching(replace(told, sites=sites), first="envoi").charts[0]
    assert chart.reading.endswith("Columns are the sites in the order of the table above.")
    assert numbers(chart) == [str(number) for number in range(1, 21)]


def test_the_report_tells_who_taught_what(make_folder, told):
    text = write_report(make_folder(told)).read_text(encoding="utf-8")
    assert "<h2>Which site taught which class</h2>" in text
    assert "Whose answer the teacher takes" in text
