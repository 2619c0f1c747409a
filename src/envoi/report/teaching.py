"""Which site taught which class: where its images are, and whose word the teacher takes on it."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from envoi.report.canvas import Chart
from envoi.report.heat import WORDED_COLUMNS, Tile, heat_map, row_labels
from envoi.results import CLOSED_FORM, Say, SiteResult, StudyResult


@dataclass(frozen=True, slots=True)
class Teaching:
    """Who taught what.

    Attributes:
        title: Of the section.
        summary: The leading sites in a sentence; empty where no teacher tells.
        charts: Images of each class by site and, where a teacher tells, the say of each expert.
    """

    title: str
    summary: str
    charts: tuple[Chart, ...]


def teaching(result: StudyResult, *, first: str | None) -> Teaching | None:
    """Sites by class; None where no site told how many images it has.

    Args:
        result: Of the run.
        first: The student that the run is about: its teacher tells before those of others.
    """
    if not any(any(site.class_counts) for site in result.sites):
        return None
    images = _images(result.sites, result.class_names)
    told = [m for m in result.methods.values() if m.says]
    says = min(told, key=lambda m: m.method != first).says if told else ()
    if not says:
        return Teaching("Which site holds which class", "", (images,))
    words = _strongest(says, result.class_names)
    charts = (images, _says(says, result.class_names))
    return Teaching("Which site taught which class", words, charts)


def _strongest(says: Sequence[Say], class_names: Sequence[str]) -> str:
    """Names, for each site that leads on some class, those classes; one sentence."""
    led: dict[str, list[str]] = {}
    networks = [say for say in says if say.expert != CLOSED_FORM]
    for index, name in enumerate(class_names):
        best = max(networks, key=lambda say: say.shares[index], default=None)
        if best and best.shares[index] > 0:
            led.setdefault(best.expert, []).append(f"“{name}”")
    if not led:
        return "No site's network has a say on any class: the closed form alone answers."
    every = len(class_names)
    clauses = [
        f"to {site} on {'every class' if len(names) == every else _listed(names)}"
        for site, names in sorted(led.items())
    ]
    return f"Among the sites' networks the teacher listens most {'; '.join(clauses)}."


def _images(sites: Sequence[SiteResult], class_names: Sequence[str]) -> Chart:
    columns = [site.class_counts for site in sites]
    totals = [max(sum(counts), 1) for counts in zip(*columns, strict=True)]
    shares = [[counts[index] / total for counts in columns] for index, total in enumerate(totals)]
    names = [site.site for site in sites]
    svg = _drawn(shares, class_names, names, name="chart-holdings")
    reading = (
        "A row is a class and sums to 100: what share of all its training images, as released, "
        "each site holds (in percent)."
    )
    return Chart("Where the images of each class are", svg, _numbered_by_order(reading, names))


def _says(says: Sequence[Say], class_names: Sequence[str]) -> Chart:
    names = [say.expert for say in says]
    shares = [[say.shares[index] for say in says] for index in range(len(class_names))]
    svg = _drawn(shares, class_names, names, name="chart-says")
    reading = (
        "A row is a class and sums to 100: what the answer of each site's network on that class "
        "weighs in the teacher's answer (in percent), which is what the student learnt."
    )
    if CLOSED_FORM in names:
        reading += (
            " The closed form is a linear classifier on the moments of all sites together, to "
            "which each site adds in proportion to its images."
        )
    return Chart("Whose answer the teacher takes", svg, _numbered_by_order(reading, names))


def _drawn(
    shares: Sequence[Sequence[float]],
    class_names: Sequence[str],
    names: Sequence[str],
    *,
    name: str,
) -> Markup:
    worded, top = len(names) <= WORDED_COLUMNS, max(map(max, shares)) or 1.0
    rows = [
        (label, [Tile(s / top, f"{100 * s:.0f}" if worded and s else "") for s in own])
        for label, own in zip(row_labels(class_names), shares, strict=True)
    ]
    told = "; ".join(
        f"{label}: {', '.join(f'{who} {100 * share:.0f}' for who, share in _largest(names, own))}"
        for label, own in zip(class_names, shares, strict=True)
    )
    return heat_map(
        rows,
        name=name,
        description=f"Largest shares in percent; {told}",
        row_height=max(min(280 / len(rows), 36), 14),
        columns=names,
    )


def _largest(names: Sequence[str], shares: Sequence[float]) -> list[tuple[str, float]]:
    told = zip(names, shares, strict=True)
    return sorted(told, key=lambda item: -item[1])[:2]


def _numbered_by_order(reading: str, names: Sequence[str]) -> str:
    if len(names) <= WORDED_COLUMNS:
        return reading
    last = ", then the closed form" if names[-1] == CLOSED_FORM else ""
    return f"{reading} Columns are the sites in the order of the table above{last}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
