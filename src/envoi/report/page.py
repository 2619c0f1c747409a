"""The report: one HTML file made from a run's folder, and from nothing else.

Everything that a site or a user named is hostile text: the templates escape it, and the page's
content policy forbids scripts, frames, forms and every request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envoi.files import write_text
from envoi.report import charts, distillation, table
from envoi.report.canvas import Chart
from envoi.report.composition import class_mix, confusion
from envoi.report.consistency import check
from envoi.report.curves import distillation_courses, site_curves
from envoi.report.evaluations import at_sites
from envoi.report.findings import Findings, Role, find, role_of
from envoi.report.gallery import embed
from envoi.report.heat import are_long, is_cut
from envoi.report.hospitals import hospitals
from envoi.report.names import duration, percent, size
from envoi.report.rendering import POLICY, environment
from envoi.report.teaching import teaching
from envoi.report.transfers import transfers
from envoi.report.verdict import notes, verdict
from envoi.results import RunFolder, StudyResult

REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure below the verdict."""

    value: str
    label: str


def write_report(folder: RunFolder) -> Path:
    """Write report.html into a finished run's folder.

    Reads result.json, steps.jsonl, gallery/ and evaluations.json. Parts that the run does not
    have are left out.
    Equal folders give equal bytes.

    Returns:
        The path of the report.

    Raises:
        StorageError: The run has no result, the result contradicts itself, or the report
            cannot be written.
    """
    page = environment().get_template("report.html.j2").render(_content(folder))
    path = folder.path / REPORT
    write_text(path, page)
    return path


def _content(folder: RunFolder) -> Mapping[str, Any]:
    result, steps = folder.result(), folder.steps()
    check(result)
    findings = find(result)
    first = findings.student.name if findings.student else None
    pairs = distillation.taught(result, first=first)
    return {
        "policy": POLICY,
        "result": result,
        "findings": findings,
        "verdict": verdict(findings),
        "notes": notes(findings, result.class_names),
        "figures": _figures(result, findings),
        "measures": _measures(findings),
        "costs": table.COSTS,
        "rows": table.comparison_rows(findings),
        "site_rows": table.site_rows(findings),
        "comparisons": [*_comparisons(findings), *transfers(result, findings)],
        "taught": [_beside(pair, result) for pair in pairs],
        "hospitals": hospitals(result, findings, pairs),
        "teaching": teaching(result, first=first),
        "at_sites": at_sites(folder.path, result.class_names),
        "listed": are_long(result.class_names),
        "numbered": is_cut(result.class_names),
        "class_mix": class_mix(result.sites, result.class_names) if result.sites else None,
        "bytes_moved": _bytes_moved(result),
        "site_curves": site_curves(steps),
        "courses": distillation_courses(steps),
        "answers": _answers(result, findings),
        "gallery": embed(folder.path, result.gallery),
        "changed": [method for method in result.methods.values() if method.changes],
    }


def _measures(findings: Findings) -> tuple[str, ...]:
    """The columns that can be filled: none without test images, no ratio without pooled."""
    if not findings.test_images:
        return ()
    return table.MEASURES if findings.pooled else table.MEASURES[:-1]


def _figures(result: StudyResult, findings: Findings) -> list[Figure]:
    figures = []
    if findings.student:
        ours = findings.student.metrics.accuracy.value
        figures.append(Figure(percent(ours), "accuracy of the student"))
        if findings.pooled and (reference := findings.pooled.metrics.accuracy.value) > 0:
            figures.append(Figure(percent(ours / reference, 0), "of pooled training"))
    if result.sites:
        most = max(site.bytes_sent for site in result.sites)
        figures.append(Figure(size(most), "sent by each site, once"))
    if findings.student:
        figures.append(Figure(duration(findings.student.server_seconds), "of server time"))
    return figures


def _comparisons(findings: Findings) -> list[Chart]:
    tested = [(method.method, method.metrics) for method in findings.compared if method.metrics]
    if not tested:
        return []
    truth = [sum(row) for row in tested[0][1].confusion]
    chances = {
        "accuracy": max(truth) / sum(truth),
        "balanced_accuracy": 1 / sum(count > 0 for count in truth),
    }
    return [
        charts.comparison(
            [
                charts.Compared(
                    findings.title(name), getattr(metrics, metric), _colour(name, findings)
                )
                for name, metrics in tested
            ],
            metric=metric.replace("_", " "),
            chance=chance,
        )
        for metric, chance in chances.items()
    ]


def _colour(method: str, findings: Findings) -> str:
    if findings.is_student(method):
        return "accent"
    return "muted" if role_of(method) is Role.POOLED else "ink"


def _bytes_moved(result: StudyResult) -> Chart | None:
    """What rounds would move by computation, unless the run has measured some."""
    one_file = max((site.bytes_sent for site in result.sites), default=0)
    network = max((site.network_bytes for site in result.sites), default=0)
    ran = any(role_of(name) is Role.ROUNDS for name in result.methods)
    return charts.bytes_moved(one_file, network) if one_file and not ran else None


def _beside(pair: distillation.Taught, result: StudyResult) -> Mapping[str, Any]:
    """A student beside its teacher, as the template wants it."""
    return {
        "title": pair.title,
        "summary": distillation.summary(pair, result.class_names),
        "rows": distillation.class_rows(pair, result.class_names),
        "charts": (
            distillation.class_pairs(pair, result.class_names),
            distillation.recalls_of_all(pair, result),
        ),
    }


def _answers(result: StudyResult, findings: Findings) -> list[Chart]:
    """Confusion and calibration of the student and of the best other method."""
    shown = [one for one in (findings.student, findings.rival) if one]
    shown = shown or [one for one in (findings.best_site, findings.pooled) if one][:1]
    return [
        *(confusion(one.metrics, result.class_names, method=one.name) for one in shown),
        *(charts.reliability(one.metrics, method=one.name) for one in shown),
    ]
