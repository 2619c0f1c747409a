"""What sites hold and what a classifier confuses: shares as stacked bars and heat maps."""

from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from envoi.report.canvas import (
    COLOURS,
    Chart,
    Key,
    bare,
    canvas,
    plain,
    row_words,
    series,
    slug,
)
from envoi.report.names import method_title, percent, shorten
from envoi.results import Metrics, SiteResult

STACKED_CLASSES = 8
STACKED_SITES = 12
NUMBERED_CLASSES = 10
LABEL_LENGTH = 20

Rows = Sequence[tuple[str, Sequence[int]]]


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
    rows = [(site.site, site.class_counts) for site in sites]
    top = max(max(counts) / max(sum(counts), 1) for _, counts in rows) or 1.0
    svg = _heat_map(
        rows,
        name="chart-mix",
        description=f"Class mix of {len(sites)} sites; the table below has the counts",
        row_height=13 if len(sites) > STACKED_SITES else 20,
        top=top,
    )
    reading = (
        "A row is a site and a column a class, by number; the stronger a cell's colour, the "
        "larger the share of that class among the site's images "
        f"(the strongest: {percent(top, 0)})."
    )
    return Chart(title, svg, reading)


def confusion(metrics: Metrics, class_names: Sequence[str], *, method: str) -> Chart:
    """How often each true class was answered as which class."""
    classes = len(class_names)
    rows = [
        (f"{index} {name}", row)
        for index, name, row in zip(
            range(1, classes + 1), class_names, metrics.confusion, strict=True
        )
    ]
    title = f"{method_title(method)}: answers"
    right = sum(row[index] for index, row in enumerate(metrics.confusion))
    svg = _heat_map(
        rows,
        name=f"confusion-{slug(method)}",
        description=f"{title}; {right} of {sum(map(sum, metrics.confusion))} on the diagonal",
        row_height=min(280 / classes, 70),
        numbers=classes <= NUMBERED_CLASSES,
    )
    reading = (
        "A row is a true class and a column the answer given, by number; the stronger a cell's "
        "colour, the larger its share of the row. Without mistakes the diagonal alone has colour."
    )
    return Chart(title, svg, reading)


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


def _heat_map(
    rows: Rows,
    *,
    name: str,
    description: str,
    row_height: float,
    top: float = 1.0,
    numbers: bool = False,
) -> Markup:
    """Rows of counts shaded by their share of the row; the share `top` is darkest."""
    columns = len(rows[0][1])
    with canvas(row_height * len(rows) + 24) as drawing:
        axes = drawing.axes()
        _shade(axes, [counts for _, counts in rows], top)
        if numbers:
            _number(axes, [counts for _, counts in rows])
        axes.set(xlim=(-0.5, columns - 0.5), ylim=(len(rows) - 0.5, -0.5))
        axes.xaxis.tick_top()
        small = 9.0 if row_height < 15 or columns > NUMBERED_CLASSES else None
        axes.set_xticks(range(columns), [str(number + 1) for number in range(columns)])
        labels = [shorten(plain(label), LABEL_LENGTH) for label, _ in rows]
        axes.set_yticks(range(len(rows)), labels)
        axes.tick_params(labelsize=small)
        bare(axes)
        return drawing.svg(name, description)


def _shade(axes: Axes, rows: Sequence[Sequence[int]], top: float) -> None:
    """A tile for each count: a pale one below, and over it one that is opaque at `top`."""
    places = [(x, y) for y, counts in enumerate(rows) for x in range(len(counts))]
    tiles = [Rectangle((x - 0.48, y - 0.47), 0.96, 0.94) for x, y in places]
    shares = [rows[y][x] / max(sum(rows[y]), 1) / top for x, y in places]
    pale, dark = to_rgb(COLOURS["rule"]), to_rgb(COLOURS["heat"])
    for colours in ([(*pale, 0.35)] * len(tiles), [(*dark, share) for share in shares]):
        axes.add_collection(PatchCollection(tiles, facecolors=colours, linewidths=0))


def _number(axes: Axes, rows: Sequence[Sequence[int]]) -> None:
    for y, counts in enumerate(rows):
        for x, count in enumerate(counts):
            if count:
                axes.text(x, y, f"{count}", ha="center", va="center", fontsize=10, in_layout=False)


def is_cut(class_names: Sequence[str]) -> bool:
    """Whether a class's name does not fit beside a heat map."""
    return any(len(name) > LABEL_LENGTH - 3 for name in class_names)
