"""The comparison over runs: one row for each data set, partition and method.

Values are means over the runs (seeds) of a group. The interval of several runs is Student's t
over them; that of a single run is its bootstrap interval over test images. Ratios are to
`pooled` of the same group.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np
from scipy.stats import t as student_t

from envoi.errors import DataError, Problem
from envoi.results import Interval, MethodResult, Metrics, RunFolder, StudyResult

Group = tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison; the columns of table.csv, in order.

    `local_best` is, in each run and for each measure on its own, the best of all sites on the
    test set, which no site could know: it flatters the sites. `local_mean` is their mean.
    `site_seconds` is what sites trained for a method beyond their one submission.
    """

    dataset: str
    partition: str
    sites: int
    network: str
    method: str
    runs: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    balanced_accuracy: float
    balanced_accuracy_low: float
    balanced_accuracy_high: float
    auroc: float
    ece: float
    ratio_accuracy: float
    ratio_balanced_accuracy: float
    server_seconds: float
    server_flop: float
    bytes_per_site: int
    peak_bytes: int
    device: str
    site_seconds: float


def read_runs(folder: Path) -> list[StudyResult]:
    """All finished runs below `folder`, in the order of their names.

    Raises:
        DataError: There is none.
    """
    found = [RunFolder(file.parent).result() for file in sorted(folder.rglob("result.json"))]
    if not found:
        raise DataError(
            Problem("at least one finished run", "none", folder.name, "Run `envoi bench run`.")
        )
    return found


def comparison(runs: Iterable[StudyResult]) -> list[Row]:
    """One row for each group of runs and method, pooled first, then the local rows."""
    groups: dict[Group, list[StudyResult]] = defaultdict(list)
    for run in runs:
        groups[run.name, run.partition, len(run.sites), run.network].append(run)
    return [row for group in sorted(groups) for row in _rows(group, groups[group])]


def local_best(run: StudyResult) -> MethodResult:
    """The best that any single site reaches on the test set, measure by measure.

    Its accuracy may be that of one site and its balanced accuracy that of another; confusion and
    calibration bins are of the site with the best balanced accuracy.
    """
    sites = [_metrics(row) for row in _local(run)]
    balanced = max(sites, key=lambda metrics: metrics.balanced_accuracy.value)
    best = replace(
        balanced,
        accuracy=max((metrics.accuracy for metrics in sites), key=_value),
        auroc=max((metrics.auroc for metrics in sites), key=_value),
        ece=min((metrics.ece for metrics in sites), key=_value),
    )
    return replace(
        _local(run)[0],
        method="local_best",
        metrics=best,
        peak_bytes=max(row.peak_bytes for row in _local(run)),
    )


def as_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV with a header; fractions to four digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    for row in rows:
        writer.writerow(_shortened(value) for value in astuple(row))
    return text.getvalue()


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as one Markdown table for each group, percentages with intervals."""
    groups: dict[Group, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.dataset, row.partition, row.sites, row.network].append(row)
    return "\n".join(_section(group, members) for group, members in groups.items())


def _rows(group: Group, runs: list[StudyResult]) -> list[Row]:
    for run in runs:
        if "pooled" not in run.methods or not _local(run):
            found = f"only {', '.join(run.methods) or 'nothing'}"
            where = f"a run of {run.name}"
            raise DataError(
                Problem("rows pooled and local/<site>", found, where, "Compare only bench runs.")
            )
    by_method: dict[str, list[list[MethodResult]]] = {
        "pooled": [[run.methods["pooled"]] for run in runs],
        "local_best": [[local_best(run)] for run in runs],
        "local_mean": [_local(run) for run in runs],
    }
    names = dict.fromkeys(name for run in runs for name in run.methods)
    for name in names:
        if name != "pooled" and not name.startswith("local/"):
            by_method[name] = [[run.methods[name]] for run in runs if name in run.methods]
    devices = "; ".join(sorted({run.environment.get("device", "unknown") for run in runs}))
    reference = by_method["pooled"]
    return [_row(group, name, cells, reference, devices) for name, cells in by_method.items()]


def _row(
    group: Group,
    method: str,
    cells: list[list[MethodResult]],
    reference: list[list[MethodResult]],
    device: str,
) -> Row:
    accuracy = _interval(cells, lambda metrics: metrics.accuracy)
    balanced = _interval(cells, lambda metrics: metrics.balanced_accuracy)
    pooled = _interval(reference, lambda metrics: metrics.accuracy)
    pooled_balanced = _interval(reference, lambda metrics: metrics.balanced_accuracy)
    flat = [row for cell in cells for row in cell]
    return Row(
        *group,
        method=method,
        runs=len(cells),
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        balanced_accuracy=balanced.value,
        balanced_accuracy_low=balanced.low,
        balanced_accuracy_high=balanced.high,
        auroc=float(np.mean([_metrics(row).auroc.value for row in flat])),
        ece=float(np.mean([_metrics(row).ece.value for row in flat])),
        ratio_accuracy=accuracy.value / pooled.value,
        ratio_balanced_accuracy=balanced.value / pooled_balanced.value,
        server_seconds=float(np.mean([row.server_seconds for row in flat])),
        site_seconds=float(np.mean([row.site_seconds for row in flat])),
        server_flop=float(np.mean([row.server_flop for row in flat])),
        bytes_per_site=max(row.bytes_per_site for row in flat),
        peak_bytes=max(row.peak_bytes for row in flat),
        device=device,
    )


def _interval(cells: list[list[MethodResult]], metric: Callable[[Metrics], Interval]) -> Interval:
    """Mean over runs of the mean within each run, with its 95 % interval, kept in 0..1."""
    values = [float(np.mean([metric(_metrics(row)).value for row in cell])) for cell in cells]
    mean = float(np.mean(values))
    if len(values) == 1:
        bounds = [metric(_metrics(row)) for row in cells[0]]
        low = float(np.mean([bound.low for bound in bounds]))
        high = float(np.mean([bound.high for bound in bounds]))
        return Interval(mean, low, high)
    half = student_t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return Interval(mean, max(0.0, mean - float(half)), min(1.0, mean + float(half)))


def _value(interval: Interval) -> float:
    return interval.value


def _local(run: StudyResult) -> list[MethodResult]:
    return [row for name, row in run.methods.items() if name.startswith("local/")]


def _metrics(row: MethodResult) -> Metrics:
    if row.metrics is None:
        raise DataError(
            Problem("metrics", "none", row.method, "Compare only runs that had test images.")
        )
    return row.metrics


def _shortened(value: object) -> object:
    if not isinstance(value, float):
        return value
    return f"{value:.4g}" if value >= 10 else f"{value:.4f}"


def _section(group: Group, rows: Sequence[Row]) -> str:
    dataset, partition, sites, network = group
    head = (
        "| method | runs | accuracy | balanced accuracy | AUROC | ECE | of pooled (bal.) "
        "| server s | site s added | server TFLOP | MB per site | peak MB |\n"
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )
    lines = [
        f"| {row.method} | {row.runs} "
        f"| {_percent(row.accuracy, row.accuracy_low, row.accuracy_high)} "
        f"| {_percent(row.balanced_accuracy, row.balanced_accuracy_low, row.balanced_accuracy_high)} "  # noqa: E501
        f"| {row.auroc:.3f} | {row.ece:.3f} | {row.ratio_balanced_accuracy:.2f} "
        f"| {row.server_seconds:.0f} | {row.site_seconds:.0f} | {row.server_flop / 1e12:.1f} "
        f"| {row.bytes_per_site / 1e6:.2f} | {row.peak_bytes / 1e6:.0f} |"
        for row in rows
    ]
    title = f"### {dataset}, {partition}, {sites} sites, {network}"
    return "\n".join([title, "", head, *lines, "", f"Device: {rows[0].device}.", ""])


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
