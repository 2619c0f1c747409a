"""The comparison table: one row a method, what it reaches and what it costs."""

from collections.abc import Iterable
from dataclasses import dataclass

from envoi.report.findings import Findings, Tested, role_of
from envoi.report.names import duration, method_gloss, method_title, percent, size
from envoi.results import Interval, MethodResult, Metrics

MEASURES = ("Accuracy", "Balanced accuracy", "AUROC", "Calibration error", "Ratio to pooled")
COSTS = ("Server time", "Bytes per site", "Peak memory")

NOTHING = "\N{EN DASH}"

Best = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """One cell: a value, what stands below it, and whether it is the column's best."""

    value: str
    detail: str
    best: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One method in words.

    Attributes:
        title: Its name.
        gloss: What it is, in half a line.
        kind: Its role; `chosen` for the student that the run is about.
        measures: In the order of `MEASURES`; empty without test images.
        costs: In the order of `COSTS`.
    """

    title: str
    gloss: str
    kind: str
    measures: tuple[Measure, ...]
    costs: tuple[str, ...]


def comparison_rows(findings: Findings) -> tuple[Row, ...]:
    """The main table; the best value of each column but pooled's is marked."""
    best = _best([m for m in findings.compared if m.method != "pooled"])
    return tuple(_row(method, findings, best) for method in findings.compared)


def site_rows(findings: Findings) -> tuple[Row, ...]:
    """Every site alone, the best of them marked; empty when the main table has them all."""
    if all(site in findings.compared for site in findings.sites):
        return ()
    best = _best(findings.sites)
    return tuple(_row(site, findings, best, plain=True) for site in findings.sites)


def _row(method: MethodResult, findings: Findings, best: Best, *, plain: bool = False) -> Row:
    name = method.method
    title, gloss = findings.title(name), method_gloss(name)
    if plain:
        title = method_title(name)
    elif measures := findings.best_at(name):
        gloss = f"by {' and '.join(measures)}, chosen on the test images"
    if method.site_seconds:
        gloss = f"sites trained {duration(method.site_seconds)} for it in all"
    return Row(
        title=title,
        gloss=gloss,
        kind="chosen" if findings.is_student(name) else role_of(name).value,
        measures=_measures(method, findings, best),
        costs=(
            duration(method.server_seconds) if method.server_seconds else NOTHING,
            size(method.bytes_per_site) if method.bytes_per_site else NOTHING,
            size(method.peak_bytes) if method.peak_bytes else NOTHING,
        ),
    )


def _measures(method: MethodResult, findings: Findings, best: Best) -> tuple[Measure, ...]:
    if method.metrics is None:
        return ()
    texts = [
        (percent(i.value), f"{100 * i.low:.1f} to {100 * i.high:.1f}")
        for i in (method.metrics.accuracy, method.metrics.balanced_accuracy)
    ] + [
        (f"{i.value:.3f}", f"{i.low:.3f} to {i.high:.3f}")
        for i in (method.metrics.auroc, method.metrics.ece)
    ]
    marked = [
        method.method != "pooled" and value == top
        for value, top in zip(_scores(method.metrics), best, strict=True)
    ]
    ratio = _ratio(method.metrics, findings.pooled, best=marked[0])
    return (
        *(Measure(*text, best=mark) for text, mark in zip(texts, marked, strict=True)),
        ratio,
    )


def _ratio(metrics: Metrics, pooled: Tested | None, *, best: bool) -> Measure:
    if pooled is None:
        return Measure(NOTHING, "", best=False)
    accuracy = _share(metrics.accuracy, pooled.metrics.accuracy)
    balanced = _share(metrics.balanced_accuracy, pooled.metrics.balanced_accuracy)
    return Measure(accuracy, f"balanced {balanced}", best=best and accuracy != NOTHING)


def _share(ours: Interval, theirs: Interval) -> str:
    return percent(ours.value / theirs.value, 0) if theirs.value > 0 else NOTHING


def _scores(metrics: Metrics) -> Best:
    """Each measure so that higher is better."""
    return (
        metrics.accuracy.value,
        metrics.balanced_accuracy.value,
        metrics.auroc.value,
        -metrics.ece.value,
    )


def _best(methods: Iterable[MethodResult]) -> Best:
    scores = [_scores(method.metrics) for method in methods if method.metrics]
    return tuple(max(column) for column in zip(*scores, strict=True)) or (float("nan"),) * 4
