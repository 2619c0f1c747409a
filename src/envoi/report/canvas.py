"""Matplotlib figures as inline SVG that follows the page's colours, light and dark.

Figures are drawn in marker colours, one for each role, which become CSS variables in the SVG.
Text stays text, in the page's font. Equal figures give equal bytes: no date, no random ids.
"""

import io
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from envoi.report.names import printable, shorten

WIDTH = 400
FONT = 11.0
SERIES = 9

COLOURS: dict[str, str] = {
    "ink": "#010203",
    "muted": "#010303",
    "rule": "#010403",
    "page": "#010503",
    "accent": "#010603",
    "heat": "#010703",
    **{f"series-{index}": f"#0108{index:02x}" for index in range(SERIES)},
}

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "envoi",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": FONT,
    "axes.edgecolor": COLOURS["rule"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlecolor": COLOURS["ink"],
    "axes.titlelocation": "left",
    "axes.titlesize": FONT,
    "axes.formatter.use_mathtext": False,
    "grid.color": COLOURS["rule"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["rule"],
    "ytick.color": COLOURS["rule"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "hatch.linewidth": 0.8,
}


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a chart's legend, which the page sets as text beside a swatch."""

    colour: str
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn figure with its words.

    Attributes:
        title: What is shown.
        svg: The drawing.
        reading: How to read it, in one sentence.
        keys: The legend, in the order of drawing.
    """

    title: str
    svg: Markup
    reading: str
    keys: tuple[Key, ...] = ()


class Canvas:
    """A figure under construction, in units of 1/400 of the column's width.

    Attributes:
        figure: Draw on it.
    """

    def __init__(self, height: float) -> None:
        layout = ConstrainedLayoutEngine(w_pad=2 / 72, h_pad=2 / 72)
        self.figure = Figure(figsize=(WIDTH / 72, height / 72), layout=layout)

    def axes(self, rows: int = 1, index: int = 1) -> Axes:
        """Axes number `index` (from 1) of `rows` above one another."""
        return self.figure.add_subplot(rows, 1, index)

    def svg(self, name: str, description: str) -> Markup:
        """The drawing as an `<svg>` element.

        Args:
            name: Unique on the page; starts every id in the drawing.
            description: What the drawing shows, for those who do not see it.
        """
        with warnings.catch_warnings():
            # The browser draws the text: letters that this font lacks are not missing there.
            warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
            buffer = io.StringIO()
            no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            self.figure.savefig(buffer, format="svg", transparent=True, metadata=no_metadata)
        return _inline(buffer.getvalue(), name, description)


@contextmanager
def canvas(height: float) -> Iterator[Canvas]:
    """A canvas of that height in the report's style; the style ends with the block."""
    with mpl.rc_context(_STYLE):
        yield Canvas(height)


def variable(colour: str) -> str:
    """The CSS variable of a colour role."""
    return f"var(--{colour})"


def series(index: int) -> str:
    """The colour role of the class or site at `index`; they repeat after nine."""
    return f"series-{index % SERIES}"


def bare(axes: Axes) -> None:
    """Leave only the drawing: no frame, no ticks."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def row_words(axes: Axes, y: int, label: str, value: str, *, bold: bool = False) -> None:
    """A label and a value above row `y`, so that long names need no margin."""
    style: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "va": "center",
        "in_layout": False,
        "fontweight": "bold" if bold else "normal",
    }
    axes.text(0, y + 0.45, shorten(plain(label), 46), ha="left", **style)
    axes.text(1, y + 0.45, value, ha="right", **style)


def slug(text: str) -> str:
    """`text` as part of an id: letters and digits, and a number that tells it from others."""
    return f"{re.sub(r'[^a-z0-9]+', '-', text.lower())}-{zlib.crc32(text.encode()):08x}"


def plain(text: str) -> str:
    """`text` on one line, every character one that can be shown."""
    return printable(" ".join(text.split()))


def _inline(document: str, name: str, description: str) -> Markup:
    body = document[document.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\1{name}-", body)
    for role, marker in COLOURS.items():
        body = body.replace(marker, variable(role))
    view = re.search(r'viewBox="[^"]+"', body)
    inside = body[body.index(">") + 1 :].strip()
    box = view.group(0) if view else ""
    head = f'<svg class="chart" {box} role="img" aria-label="{escape(plain(description))}">'
    return Markup(head + inside)  # noqa: S704  (matplotlib escapes the text it draws)
