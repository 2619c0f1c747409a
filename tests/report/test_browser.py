import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from envoi.report import write_report

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

OPEN_ALL = "document.querySelectorAll('details').forEach((part) => { part.open = true; })"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CONTRAST = """
() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!colour.startsWith("rgba") || !colour.endsWith(", 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const kinds = "h1,h2,h3,h4,p,li,dt,dd,th,td,small,summary,a,strong,svg text";
  return Math.min(...[...document.querySelectorAll(kinds)].map((e) => {
    const style = getComputedStyle(e);
    const front = luminance(e.closest("svg") ? style.fill : style.color);
    const back = luminance(behind(e));
    return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  }));
}
"""


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

    def visit(path: Path, *, width: int, scheme: str):
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        opened.append(tab)
        tab.complaints, tab.requests = [], []
        tab.on("console", lambda message: tab.complaints.append(message.text))
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.on("request", lambda request: tab.requests.append(request.url))
        tab.goto(path.as_uri(), wait_until="load")
        return tab

    yield visit
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
