"""Heat maps: rows of tiles, the stronger the colour the larger the share."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from envoi.report.canvas import COLOURS, bare, canvas, plain
from envoi.report.names import shorten

WORDED_COLUMNS = 10
LABEL_LENGTH = 20
COLUMN_LENGTH = 14

_SHORT = 5
_TURN_DEGREES = 35


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell: how strong its colour is, from 0 to 1, and what is written on it."""

    strength: float
    words: str = ""


Rows = Sequence[tuple[str, Sequence[Tile]]]


def heat_map(
    rows: Rows,
    *,
    name: str,
    description: str,
    row_height: float,
    columns: Sequence[str] = (),
) -> Markup:
    """Rows of tiles under numbered or named columns.

    Args:
        rows: Each with its label; at least one, all of one length.
        name: Unique on the page.
        description: What the drawing shows.
        row_height: In units of the canvas.
        columns: Their names; without them, or with too many, they are numbered from 1.
    """
    count = len(rows[0][1])
    names = [shorten(plain(column), COLUMN_LENGTH) for column in columns]
    named = 0 < count == len(names) <= WORDED_COLUMNS
    turned = named and max(map(len, names)) > _SHORT
    with canvas(row_height * len(rows) + (70 if turned else 24)) as drawing:
        axes = drawing.axes()
        _shade(axes, rows)
        _write(axes, rows)
        axes.set(xlim=(-0.5, count - 0.5), ylim=(len(rows) - 0.5, -0.5))
        axes.xaxis.tick_top()
        small = 9.0 if row_height < 15 or count > WORDED_COLUMNS else None
        axes.set_xticks(range(count), names if named else [f"{n + 1}" for n in range(count)])
        labels = [shorten(plain(label), LABEL_LENGTH) for label, _ in rows]
        axes.set_yticks(range(len(rows)), labels)
        axes.tick_params(labelsize=small)
        if turned:
            axes.tick_params(axis="x", labelrotation=_TURN_DEGREES)
            for label in axes.get_xticklabels():
                label.set(ha="left", va="bottom", rotation_mode="anchor")
        bare(axes)
        return drawing.svg(name, description)


def numbered(class_names: Sequence[str]) -> list[str]:
    """Class names with the numbers that columns and lists know them by."""
    return [f"{number} {name}" for number, name in enumerate(class_names, start=1)]


def row_labels(class_names: Sequence[str]) -> list[str]:
    """Class names as they stand before rows; with their numbers where a list must spell them."""
    return numbered(class_names) if are_long(class_names) else list(class_names)


def are_long(class_names: Sequence[str]) -> bool:
    """Whether a class's name does not fit before a row, even without its number."""
    return any(len(name) > LABEL_LENGTH for name in class_names)


def is_cut(class_names: Sequence[str]) -> bool:
    """Whether a class's name does not fit before a row together with its number."""
    return any(len(name) > LABEL_LENGTH - 3 for name in class_names)


def _shade(axes: Axes, rows: Rows) -> None:
    """A pale tile everywhere, and over it one that is opaque at strength 1."""
    placed = [(x, y, tile) for y, (_, tiles) in enumerate(rows) for x, tile in enumerate(tiles)]
    shapes = [Rectangle((x - 0.48, y - 0.47), 0.96, 0.94) for x, y, _ in placed]
    pale, dark = to_rgb(COLOURS["rule"]), to_rgb(COLOURS["heat"])
    strengths = [min(max(tile.strength, 0.0), 1.0) for _, _, tile in placed]
    for colours in ([(*pale, 0.35)] * len(shapes), [(*dark, strength) for strength in strengths]):
        axes.add_collection(PatchCollection(shapes, facecolors=colours, linewidths=0))


def _write(axes: Axes, rows: Rows) -> None:
    for y, (_, tiles) in enumerate(rows):
        for x, tile in enumerate(tiles):
            if tile.words:
                axes.text(x, y, tile.words, ha="center", va="center", fontsize=10, in_layout=False)
