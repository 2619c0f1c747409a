from dataclasses import replace
from pathlib import Path

import pytest

from envoi.report import write_report
from tests.report.browser import CHROMIUM, CONTRAST, OVERFLOW, visit

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

OPEN_ALL = "document.querySelectorAll('details').forEach((part) => { part.open = true; })"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser):
    """Open a file and note everything that it complains about or asks for."""
    opened = []

    def open_one(path: Path, *, width: int, scheme: str):
        opened.append(visit(browser, path, width=width, scheme=scheme))
        return opened[-1]

    yield open_one
    for tab in opened:
        tab.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_in_a_browser(open_page, report, width, scheme):
    tab = open_page(report, width=width, scheme=scheme)
    assert tab.complaints == []
    asked = [url for url in tab.requests if not url.startswith("data:")]
    assert asked == [report.as_uri()]
    assert tab.inner_text("h1") == "Blood smears of five hospitals"
    assert len(tab.query_selector_all("h2")) == 10
    tab.evaluate(OPEN_ALL)
    assert tab.evaluate(OVERFLOW) == 0
    pictures = "[...document.images].map((image) => image.naturalWidth)"
    assert tab.evaluate(pictures) == [448] * 5
    assert tab.evaluate(CONTRAST) >= 4.5


def test_dark_mode_is_dark(open_page, report):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = open_page(report, width=1280, scheme="light").evaluate(ground)
    dark = open_page(report, width=1280, scheme="dark").evaluate(ground)
    assert (light, dark) == ("rgb(252, 252, 250)", "rgb(18, 24, 29)")


def test_on_paper_it_is_light_and_fits(open_page, report):
    tab = open_page(report, width=680, scheme="dark")  # A4 less its margins
    tab.emulate_media(media="print", color_scheme="dark")
    tab.evaluate(OPEN_ALL)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(27, 37, 48)"
    assert tab.evaluate(OVERFLOW) == 0


def test_no_text_of_a_chart_is_cut_off(open_page, report):
    tab = open_page(report, width=1280, scheme="light")
    outside = tab.evaluate(
        """[...document.querySelectorAll("svg.chart")].flatMap((svg) => {
          const box = svg.getBoundingClientRect();
          return [...svg.querySelectorAll("text")].filter((text) => {
            const b = text.getBoundingClientRect();
            return b.left < box.left - 2 || b.right > box.right + 2
              || b.top < box.top - 2 || b.bottom > box.bottom + 2;
          }).map((text) => text.textContent);
        })"""
    )
    assert outside == []


def test_a_hostile_page_runs_nothing(open_page, make_folder, study, method):
    name = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    folder = make_folder(replace(study(method("fedisca", 0.6)), name=name, gallery=()))
    tab = open_page(write_report(folder), width=390, scheme="light")
    assert tab.complaints == []
    assert tab.title() == f"{name}: Envoi report"
    assert tab.inner_text("h1") == name


def test_fifty_sites_scroll_inside_the_page(open_page, large_report):
    tab = open_page(large_report, width=390, scheme="light")
    tab.evaluate(OPEN_ALL)
    assert tab.evaluate(OVERFLOW) == 0
