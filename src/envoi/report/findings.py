"""Who is compared with whom: the methods of a run, sorted by the part they play.

A best site is chosen by its result on the test images, which favours it; the student is what
its training ended with, which does not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from envoi.report.names import LOCAL, method_title
from envoi.results import Interval, MethodResult, Metrics, StudyResult

STUDENTS = ("envoi", "fedisca")


class Role(StrEnum):
    """What a method is to the comparison."""

    POOLED = "pooled"
    SITE = "site"
    ENSEMBLE = "ensemble"
    AVERAGE = "average"
    ROUNDS = "rounds"
    STUDENT = "student"


@dataclass(frozen=True, slots=True)
class Tested:
    """A method that has answered the test images."""

    name: str
    metrics: Metrics
    server_seconds: float


@dataclass(frozen=True, slots=True)
class Findings:
    """The methods of a run; None where the run has none that was tested.

    Attributes:
        pooled: The upper reference.
        student: The one that the run is about.
        best_site: Alone, by accuracy.
        best_site_balanced: Alone, by balanced accuracy; often the same one.
        rival: The best of the rest by balanced accuracy (no site alone, not pooled).
        compared: Rows of the main table, references and student first: all but the sites that
            are best at nothing.
        sites: Every site alone.
        sites_count: Sites whose submission was used.
        test_images: Images of the common test set; 0 without one.
    """

    pooled: Tested | None
    student: Tested | None
    best_site: Tested | None
    best_site_balanced: Tested | None
    rival: Tested | None
    compared: tuple[MethodResult, ...]
    sites: tuple[MethodResult, ...]
    sites_count: int
    test_images: int

    def is_student(self, method: str) -> bool:
        """Whether the run is about `method`."""
        return self.student is not None and method == self.student.name

    def best_at(self, method: str) -> tuple[str, ...]:
        """By which measures a site alone is the best of all sites."""
        pairs = (("accuracy", self.best_site), ("balanced accuracy", self.best_site_balanced))
        return tuple(measure for measure, site in pairs if site and site.name == method)

    def title(self, method: str) -> str:
        """A method's name in the comparison, where a best site stands for all sites."""
        if self.best_at(method):
            return f"Best site alone: {method.removeprefix(LOCAL)}"
        return method_title(method)


def role_of(method: str) -> Role:
    """What the method called `method` is to the comparison."""
    if method == "pooled":
        return Role.POOLED
    if method.startswith(LOCAL):
        return Role.SITE
    if method.startswith("ensemble"):
        return Role.ENSEMBLE
    if "rounds" in method:
        return Role.ROUNDS
    return Role.AVERAGE if method == "fedavg" else Role.STUDENT


def find(result: StudyResult) -> Findings:
    """Sort out the methods of a result."""
    tested = [
        Tested(name, method.metrics, method.server_seconds)
        for name, method in result.methods.items()
        if method.metrics
    ]
    by_role = {role: [one for one in tested if role_of(one.name) is role] for role in Role}
    student = _student(by_role[Role.STUDENT])
    sites = by_role[Role.SITE]
    rest = [
        one
        for one in tested
        if one is not student and role_of(one.name) not in {Role.SITE, Role.POOLED}
    ]
    best = _best(sites, lambda metrics: metrics.accuracy)
    balanced = _best(sites, lambda metrics: metrics.balanced_accuracy)
    first = [one.name for one in (*by_role[Role.POOLED], student, best, balanced) if one]
    others = [name for name in result.methods if role_of(name) is not Role.SITE]
    return Findings(
        pooled=next(iter(by_role[Role.POOLED]), None),
        student=student,
        best_site=best,
        best_site_balanced=balanced,
        rival=_best(rest, lambda metrics: metrics.balanced_accuracy),
        compared=tuple(result.methods[name] for name in dict.fromkeys([*first, *others])),
        sites=tuple(m for name, m in result.methods.items() if role_of(name) is Role.SITE),
        sites_count=len(result.sites),
        test_images=sum(map(sum, tested[0].metrics.confusion)) if tested else 0,
    )


def _student(candidates: Sequence[Tested]) -> Tested | None:
    named = {one.name: one for one in candidates}
    known = [named[name] for name in STUDENTS if name in named]
    return next(iter([*known, *candidates]), None)


def _best(tested: Sequence[Tested], by: Callable[[Metrics], Interval]) -> Tested | None:
    return max(tested, key=lambda one: by(one.metrics).value, default=None)
