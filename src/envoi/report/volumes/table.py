"""The table of scores: one row a set, the synthetic one first."""

from dataclasses import dataclass

from envoi.evaluation.scores import SetScores, VolumeScores
from envoi.report.names import TIMES, decimal
from envoi.report.rendering import Cell
from envoi.report.volumes.measures import Measure, measures

SETS: dict[str, tuple[str, str]] = {
    "synthetic": ("Synthetic", "the set in question"),
    "held-out": ("Held-out", "real against real: a perfect model's row"),
    "blurred": ("Blurred", "held-out brains without fine detail"),
    "noisy": ("Noisy", "held-out brains with grain"),
    "shuffled": ("Shuffled", "held-out brains, slices in a wrong order"),
    "seamed": ("Seamed", "held-out brains, a step at each border"),
    "seamed_anywhere": ("Seamed anywhere", "held-out brains, slabs brighter and darker in turn"),
    "shrunk": ("Shrunk", "held-out brains made smaller"),
    "collapsed": ("Collapsed", "one held-out brain over and over"),
    "copied": ("Copied", "training brains, mirrored, moved and noisy"),
}


@dataclass(frozen=True, slots=True)
class Group:
    """Columns of the table below one heading; a single column is its own heading.

    Attributes:
        title: The heading.
        columns: Below it; empty for a single column.
    """

    title: str
    columns: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What a cell of each column is called where it stands alone."""
        return tuple(f"{self.title}, {column}" for column in self.columns) or (self.title,)


@dataclass(frozen=True, slots=True)
class Row:
    """One set in words; `kind` is `chosen` for the synthetic one and `pooled` for held-out."""

    title: str
    gloss: str
    volumes: int
    kind: str
    cells: tuple[Cell, ...]


def groups(scores: VolumeScores) -> tuple[Group, ...]:
    """The columns, in the order of the cells."""
    ours = scores.synthetic
    frechet = (Group(f"Frechet on {name}", tuple(ours.distances(name))) for name in ours.extractors)
    return (
        Group("MS-SSIM"),
        Group("MMD"),
        *frechet,
        Group("Jumps"),
        Group("Seams", ("at borders", "anywhere")),
        Group("Copies"),
    )


def rows(scores: VolumeScores) -> tuple[Row, ...]:
    """All sets: the synthetic one, real against real, the controls."""
    return tuple(_row(one, scores) for one in scores.rows)


def _row(scores: SetScores, all_scores: VolumeScores) -> Row:
    title, gloss = SETS.get(scores.name, (scores.name, ""))
    ours, real = scores is all_scores.synthetic, scores is all_scores.held_out
    kind = "chosen" if ours else "pooled" if real else ""
    held_out = all_scores.held_out
    found = () if real else measures(scores, held_out)
    return Row(title, gloss, scores.volumes, kind, _cells(scores, found, marked=ours))


def _cells(scores: SetScores, found: tuple[Measure, ...], *, marked: bool) -> tuple[Cell, ...]:
    """The scores, with what they are times held-out volumes' where that has a meaning."""
    copied = scores.copied
    texts = [
        f"{scores.similarity.mean:.3f}",
        decimal(scores.discrepancy().squared, 4),
        *(f"{one.distance:.1f}" for one in scores.frechet),
        f"{scores.through_plane.largest_jump:.3f}",
        f"{scores.through_plane.seams:.2f}",
        f"{scores.through_plane.seams_anywhere:.1f}",
    ]
    told = found[: len(texts)] or (None,) * len(texts)
    cells = [
        Cell(text, _times(one), marked and one is not None and one.within)
        for text, one in zip(texts, told, strict=True)
    ]
    return (*cells, Cell(f"{copied}", f"of {scores.volumes}", marked and copied == 0))


def _times(measure: Measure | None) -> str:
    if measure is None or measure.times is None:
        return ""
    return f"{TIMES}\N{NO-BREAK SPACE}{measure.times:.{0 if measure.times >= 9.95 else 1}f}"
