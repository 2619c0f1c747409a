"""The page in headless Chromium, whose WebGL runs on the processor."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.report.browser import CHROMIUM, CONTRAST, OVERFLOW, visit
from tests.report.volumes.test_viewer import without

DRAWN = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
BLIND = ("--disable-gpu", "--disable-3d-apis")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def launch():
    playwright = pytest.importorskip("playwright.sync_api")
    started = []
    with playwright.sync_playwright() as driver:

        def start(*flags):
            arguments = ["--no-sandbox", "--disable-dev-shm-usage", *flags]
            started.append(driver.chromium.launch(executable_path=CHROMIUM, args=arguments))
            return started[-1]

        yield start
        for chromium in started:
            chromium.close()


@pytest.fixture(scope="module")
def sighted(launch):
    return launch(*DRAWN)


def seen(tab):
    """The stage as it is seen."""
    tab.wait_for_timeout(300)
    with Image.open(io.BytesIO(tab.locator("#viewer").screenshot())) as image:
        return np.asarray(image.convert("L"), dtype=float)


@without
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_the_page_shows_brains_and_asks_for_nothing(sighted, report, width, scheme):
    tab = visit(sighted, report, width=width, scheme=scheme)
    tab.wait_for_selector(".has-view", timeout=60_000)
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith("data:")] == [report.as_uri()]
    assert tab.evaluate(OVERFLOW) == 0
    assert tab.evaluate(CONTRAST) >= 4.5
    stage = seen(tab)
    height, columns = (size // 2 for size in stage.shape)
    quarters = (stage[:height], stage[height:])
    for part in (
        half[:, side] for half in quarters for side in (slice(columns), slice(columns, None))
    ):
        assert 0.1 < (part > 60).mean() < 0.9  # a brain on black in each of the four parts
    tab.close()


@without
def test_buttons_change_the_brain(sighted, report):
    tab = visit(sighted, report)
    tab.wait_for_selector(".has-view", timeout=60_000)
    real = seen(tab)
    tab.click("#viewer-choice button:nth-child(2)")
    tab.wait_for_selector("button:nth-child(2)[aria-pressed=true]")
    assert tab.locator("button[aria-pressed=true]").count() == 1
    assert np.abs(seen(tab) - real).mean() > 2
    assert "Synthetic 1" in tab.locator("canvas").get_attribute("aria-label")
    tab.click("#viewer-choice button:nth-child(1)")
    tab.wait_for_selector("button:nth-child(1)[aria-pressed=true]")
    assert np.abs(seen(tab) - real).mean() < 0.5
    assert tab.complaints == []
    tab.close()


def test_without_webgl_the_picture_stays(launch, report):
    tab = visit(launch(*BLIND), report)
    assert [url for url in tab.requests if not url.startswith("data:")] == [report.as_uri()]
    assert not tab.evaluate("document.documentElement.classList.contains('has-view')")
    assert tab.locator("#viewer-choice").is_hidden()
    assert "Pictures only" in tab.inner_text("#solid")
    assert (seen(tab) > 60).mean() > 0.1
    tab.close()
