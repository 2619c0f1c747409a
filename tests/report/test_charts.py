import re
from dataclasses import replace

import matplotlib as mpl
import pytest

from envoi.report.canvas import COLOURS, canvas, slug
from envoi.report.charts import Compared, bytes_moved, comparison, reliability
from envoi.report.composition import class_mix, confusion
from envoi.report.heat import Tile, heat_map, is_cut, row_labels
from envoi.results import Interval

HOSTILE = '</text></svg><script>alert("x")</script>'
MATHS = r"$\frac{1}{ \alpha"


def words(chart) -> list[str]:
    found = re.findall(r"<text[^>]*>([^<]*)</text>", chart.svg)
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in found]


def compared(label="one", colour="ink"):
    return Compared(label, Interval(0.5, 0.4, 0.6), colour)


def test_a_drawing_follows_the_page_and_repeats_no_id():
    chart = comparison([compared(), compared("two", "accent")], metric="accuracy", chance=0.1)
    assert chart.svg.startswith('<svg class="chart" viewBox=')
    assert "var(--accent)" in chart.svg
    assert not any(marker in chart.svg for marker in COLOURS.values())
    assert "<metadata" not in chart.svg
    assert "<style" not in chart.svg
    ids = re.findall(r'\bid="([^"]+)"', chart.svg)
    assert len(ids) == len(set(ids)) > 0
    assert all(name.startswith("chart-accuracy-") for name in ids)
    used = re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', chart.svg)
    assert set(used) <= set(ids)


def test_equal_charts_are_equal_bytes():
    rows = [compared(), compared("two")]
    first, second = (comparison(rows, metric="accuracy", chance=0.1) for _ in range(2))
    assert first == second


def test_the_values_are_written_beside_the_names():
    chart = comparison([compared("Ensemble")], metric="accuracy", chance=0.1)
    assert {"Ensemble", "50.0%"} <= set(words(chart))
    assert 'aria-label="accuracy: Ensemble 50.0%"' in chart.svg


@pytest.mark.parametrize("name", [HOSTILE, MATHS, "東京医院", "a\u202eb\x07c", "x" * 300, ""])
def test_any_name_can_be_drawn(result, name):
    sites = [replace(site, site=name) for site in result.sites]
    names = (name, *result.class_names[1:])
    drawn = [
        comparison([compared(name)], metric="accuracy", chance=0.1),
        class_mix(sites, names),
        class_mix(sites * 3, names),
        confusion(result.methods["fedisca"].metrics, names, method=name),
        reliability(result.methods["fedisca"].metrics, method=name),
    ]
    for chart in drawn:
        assert "<script" not in chart.svg
        assert chart.svg.count("</svg>") == 1
        assert "\u202e" not in chart.svg


def test_one_method_with_no_spread_can_be_drawn():
    row = Compared("sure", Interval(1.0, 1.0, 1.0))
    assert "100.0%" in words(comparison([row], metric="accuracy", chance=1.0))


def test_few_sites_are_bars_and_many_a_heat_map(result):
    bars = class_mix(result.sites, result.class_names)
    assert [key.label for key in bars.keys] == list(result.class_names)
    assert {"aarhus", "400 images"} <= set(words(bars))
    heat = class_mix(result.sites * 3, result.class_names)
    assert heat.keys == ()
    assert words(heat).count("aarhus") == 3


def test_a_site_without_images_can_be_drawn(result):
    empty = replace(result.sites[0], class_counts=(0,) * 8)
    assert "0 images" in words(class_mix([empty], result.class_names))
    assert words(class_mix([empty] * 20, result.class_names))


def test_confusion_shows_every_count_of_few_classes(result):
    metrics = result.methods["fedisca"].metrics
    shown = words(confusion(metrics, result.class_names, method="fedisca"))
    counts = [str(count) for row in metrics.confusion for count in row if count]
    assert sorted(word for word in shown if word in counts and word not in "12345678") == sorted(
        count for count in counts if count not in "12345678"
    )
    assert "1 basophil" in shown


def test_names_too_long_for_a_heat_map_are_known():
    assert is_cut(("immature granulocyte",))
    assert not is_cut(("basophil", "monocyte"))


def test_rows_bear_numbers_only_where_a_name_is_cut():
    assert row_labels(("immature granulocyte", "platelet")) == ["immature granulocyte", "platelet"]
    assert row_labels(("x" * 21, "b")) == [f"1 {'x' * 21}", "2 b"]


def test_columns_are_named_where_there_is_room():
    def drawn(count, names):
        tiles = [Tile(2.0, "high")] + [Tile(-1.0)] * (count - 1)
        svg = heat_map([("row", tiles)], name="n", description="d", row_height=30, columns=names)
        return re.findall(r"<text[^>]*>([^<]*)</text>", svg)

    assert drawn(2, ["north", "closed form"]) == ["north", "closed form", "row", "high"]
    assert drawn(2, []) == ["1", "2", "row", "high"]
    assert "11" in drawn(11, ["site"] * 11)


def test_rounds_move_the_network_alone():
    """The file also has moments and a manifest, which averaging does not move."""
    chart = bytes_moved(1_000_000, 400_000)
    assert {"1.00 MB", "800 kB", "4.00 MB", "16.0 MB", "80.0 MB"} <= set(words(chart))
    assert "= 80.0\N{NO-BREAK SPACE}MB" in chart.reading
    assert "Only the network's numbers are counted" in chart.reading


def test_a_file_larger_than_all_rounds_fits_its_bar():
    assert "10.0 MB" in words(bytes_moved(10_000_000, 1_000))


def test_bytes_of_rounds_are_computed():
    chart = bytes_moved(1_000_000, 0)
    assert "The file's size is taken for the network's." in chart.reading
    assert {"1.00 MB", "2.00 MB", "10.0 MB", "40.0 MB", "200 MB"} <= set(words(chart))
    assert "a computation, not a measurement" in chart.reading
    assert "= 200\N{NO-BREAK SPACE}MB" in chart.reading
    assert "100 rounds of averaging (computed)" in words(chart)


def test_the_style_ends_with_the_drawing():
    before = dict(mpl.rcParams)
    with canvas(50) as drawing:
        drawing.axes()
    assert dict(mpl.rcParams) == before


def test_slugs_tell_alike_names_apart():
    assert slug("A b") != slug("a-b")
    assert re.fullmatch(r"[a-z0-9-]+", slug("<Ä b/c>"))
