"""Whether a result fits itself: everything that is told by class must tell of every class."""

from collections.abc import Iterator

from envoi.errors import Problem, StorageError
from envoi.results import MethodResult, Metrics, StudyResult


def check(result: StudyResult) -> None:
    """Require counts, recalls and shares of as many classes as the result names.

    Raises:
        StorageError: Something tells of more or fewer; all such places at once.
    """
    classes = len(result.class_names)
    found = [(site.site, len(site.class_counts)) for site in result.sites]
    for name, method in result.methods.items():
        found += [(name, count) for count in dict.fromkeys(_told(method))]
    problems = [
        Problem(f"{classes} classes", str(count), f"result.json, {name}", "Repeat the run.")
        for name, count in found
        if count != classes
    ]
    if problems:
        raise StorageError(*problems)


def _told(method: MethodResult) -> Iterator[int]:
    """Of how many classes each part of a method's row tells."""
    if method.metrics:
        yield from _measured(method.metrics)
    if method.distillation:
        yield from _measured(method.distillation.teacher)
        yield len(method.distillation.recalls)
    for say in method.says:
        yield len(say.shares)


def _measured(metrics: Metrics) -> Iterator[int]:
    for confusion in (metrics.confusion, *(part.confusion for part in metrics.by_site.values())):
        yield len(confusion)
        yield from (len(row) for row in confusion)
