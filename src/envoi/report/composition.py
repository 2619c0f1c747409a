"""What sites hold and what a classifier confuses: shares as stacked bars and heat maps."""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.ticker import PercentFormatter

from envoi.report.canvas import COLOURS, Chart, Key, bare, canvas, row_words, series, slug
from envoi.report.heat import WORDED_COLUMNS, Tile, heat_map, numbered
from envoi.report.names import method_title, percent
from envoi.results import Metrics, SiteResult

STACKED_CLASSES = 8
STACKED_SITES = 12


def class_mix(sites: Sequence[SiteResult], class_names: Sequence[str]) -> Chart:
    """The share of each class at each site: stacked bars, or a heat map where there are many."""
    title = "Class mix of each site"
    if len(class_names) <= STACKED_CLASSES and len(sites) <= STACKED_SITES:
        keys = tuple(Key(series(index), name) for index, name in enumerate(class_names))
        reading = (
            "The width of a colour is the share of that class among the site's images, in the "
            "legend's order; the more sites differ, the harder they are to combine."
        )
        return Chart(title, _stacked(sites), reading, keys)
    shares = [[n / max(sum(site.class_counts), 1) for n in site.class_counts] for site in sites]
    top = max(map(max, shares)) or 1.0
    svg = heat_map(
        [
            (site.site, [Tile(share / top) for share in own])
            for site, own in zip(sites, shares, strict=True)
        ],
        name="chart-mix",
        description=f"Class mix of {len(sites)} sites; the table below has the counts",
        row_height=13 if len(sites) > STACKED_SITES else 20,
    )
    reading = (
        "A row is a site and a column a class, by number; the stronger a cell's colour, the "
        "larger the share of that class among the site's images "
        f"(the strongest: {percent(top, 0)})."
    )
    return Chart(title, svg, reading)


def confusion(metrics: Metrics, class_names: Sequence[str], *, method: str) -> Chart:
    """How often each true class was answered as which class."""
    classes, total = len(class_names), sum(map(sum, metrics.confusion))
    title = f"{method_title(method)}: answers"
    right = sum(row[index] for index, row in enumerate(metrics.confusion))
    svg = heat_map(
        list(zip(numbered(class_names), map(_answers, metrics.confusion), strict=True)),
        name=f"confusion-{slug(method)}",
        description=f"{title}; {right} of {total} on the diagonal",
        row_height=min(280 / classes, 70),
    )
    reading = (
        "A row is a true class and a column the answer given, by number; the stronger a cell's "
        "colour, the larger its share of the row. Without mistakes the diagonal alone has colour."
    )
    return Chart(title, svg, reading)


def _answers(counts: Sequence[int]) -> list[Tile]:
    """One true class: each answer's share of it, with its count where there is room."""
    total, worded = max(sum(counts), 1), len(counts) <= WORDED_COLUMNS
    return [Tile(count / total, f"{count}" if worded and count else "") for count in counts]


def _stacked(sites: Sequence[SiteResult]) -> Markup:
    with canvas(36 * len(sites) + 26) as drawing:
        axes = drawing.axes()
        for index, site in enumerate(sites):
            total, left = sum(site.class_counts), 0.0
            for label, count in enumerate(site.class_counts):
                share = count / max(total, 1)
                colour, gap = COLOURS[series(label)], COLOURS["page"]
                axes.barh(-index, share, 0.42, left, color=colour, edgecolor=gap, linewidth=1)
                left += share
            row_words(axes, -index, site.site, f"{total:,} images")
        axes.set_xlim(0, 1)
        axes.set_ylim(0.6 - len(sites), 0.8)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_yticks([])
        bare(axes)
        return drawing.svg(
            "chart-mix", f"Class mix of {len(sites)} sites; the table below has the counts"
        )
