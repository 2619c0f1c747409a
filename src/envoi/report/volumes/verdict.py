"""What a comparison of volumes found, in plain sentences computed from the scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envoi.evaluation.scores import Copies, SetScores, VolumeScores
from envoi.report.names import percent
from envoi.report.volumes.measures import Measure, measures

BLIND_SHARE = 0.5
_ENOUGH = 20  # held-out brains, so that one in twenty is one
_OF_PEOPLE = "This page shows real scans, and holds one of them whole: keep it where scans may be."
_OF_PHANTOMS = (
    "No person's scan is shown: what is called real here was made, by formulas or by a model."
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure below the verdict."""

    value: str
    label: str


def verdict(scores: VolumeScores, real_word: str = "real") -> str:
    """Three sentences: what was compared, how much of it is as real volumes are, copies."""
    ours = scores.synthetic
    groups = _families(scores)
    within = sum(_all_within(group) for group in groups.values())
    share = "All" if within == len(groups) else "None" if not within else f"{within}"
    return (
        f"{_brains(ours.volumes, 'synthetic brain')} against "
        f"{_brains(scores.training_volumes, f'{real_word} one')} that the model learnt from and "
        f"{scores.held_out.volumes} that it never saw. {share} of {len(groups)} measures "
        f"{'is' if within == 1 else 'are'} within what held-out {real_word} brains score. "
        f"{_copies(ours)}"
    )


def notes(scores: VolumeScores, *, of_phantoms: bool = False) -> tuple[str, ...]:
    """What must be said beside the verdict, the unwelcome first."""
    groups = _families(scores)
    within = [name for name, group in groups.items() if _all_within(group)]
    beyond = [_beyond(name, group) for name, group in groups.items() if name not in within]
    found = [
        f"Not within: {_listed(beyond)}." if beyond else "",
        f"Within: {_listed(within)}." if within else "",
        _few(scores.held_out),
        _near(scores.synthetic.copies),
        _blind(scores),
        "Finding no copies is no proof of privacy: whole brains are compared, not parts of them.",
        _OF_PHANTOMS if of_phantoms else _OF_PEOPLE,
    ]
    return tuple(note for note in found if note)


def figures(scores: VolumeScores) -> tuple[Figure, ...]:
    """The key figures."""
    ours, real = scores.synthetic, scores.held_out
    groups = _families(scores)
    within = sum(_all_within(group) for group in groups.values())
    times = [one.times for one in measures(ours, real) if one.times and one.plane]
    worst = [Figure(_times(max(times)), "the held-out Frechet distance, at worst")] if times else []
    return (
        Figure(f"{within} of {len(groups)}", "measures as held-out brains"),
        *worst,
        Figure(f"{ours.copied} of {ours.volumes}", "synthetic brains count as copies"),
        Figure(
            f"{ours.similarity.mean:.2f}", f"MS-SSIM of pairs (real: {real.similarity.mean:.2f})"
        ),
    )


def _families(scores: VolumeScores) -> dict[str, list[Measure]]:
    """The synthetic set's measures, those of a kind together."""
    groups: dict[str, list[Measure]] = {}
    for one in measures(scores.synthetic, scores.held_out):
        groups.setdefault(one.family, []).append(one)
    return groups


def _all_within(group: Iterable[Measure]) -> bool:
    return all(one.within for one in group)


def _beyond(family: str, group: Sequence[Measure]) -> str:
    """A family with what is wrong in it: which of its measures, or by how much."""
    wrong = [one for one in group if not one.within]
    times = max((one.times for one in wrong if one.times), default=None)
    if len(group) == 1:
        return family if times is None else f"{family} ({_times(times)} the held-out value)"
    which = "all" if len(wrong) == len(group) else ", ".join(one.name for one in wrong)
    much = "" if times is None else f", up to {_times(times)} the held-out value"
    return f"{family} ({which}{much})"


def _copies(scores: SetScores) -> str:
    copied = scores.copied
    if not copied:
        return "No synthetic brain was found to be a copy of one that the model learnt from."
    verb = "counts as a copy" if copied == 1 else "count as copies"
    share = percent(copied / scores.volumes, 0)
    told = _listed([f"{one.copied} in {one.space}" for one in scores.copies])
    return (
        f"{copied} of {scores.volumes} ({share}) {verb} of a brain that the model learnt from "
        f"({told})."
    )


def _few(held_out: SetScores) -> str:
    """Says so where hardly anybody tells what is near."""
    if held_out.volumes >= _ENOUGH:
        return ""
    return (
        f"What counts as near or as a copy rests on {held_out.volumes} held-out brains alone: the "
        f"5th percentile of so few is about the nearest of them. Hold out {_ENOUGH} or more."
    )


def _near(found: Iterable[Copies]) -> str:
    """Says so where far more volumes than one in twenty are near to a training volume."""
    crowded = [one for one in found if one.near > len(one.neighbours) / 10]
    if not crowded:
        return ""
    told = _listed([f"{one.near} of {len(one.neighbours)} in {one.space}" for one in crowded])
    return (
        f"Nearer to a training brain than 19 in 20 held-out brains are: {told}. One in twenty "
        "would be by chance; blurred brains are near to everything."
    )


def _blind(scores: VolumeScores) -> str:
    """Names the controls in which most measures see nothing wrong."""
    blind = []
    for control in scores.controls:
        every = measures(control, scores.held_out)
        copied = control.copied > control.volumes * BLIND_SHARE
        if all(one.within for one in every) and not copied:
            blind.append(control.name)
    if not blind:
        return ""
    return (
        f"No measure finds anything wrong with {_listed(blind)}, which is wrong on purpose: this "
        "comparison is too small or too coarse to see it."
    )


def _brains(count: int, words: str) -> str:
    return f"{count:,} {words}{'' if count == 1 else 's'}"


def _times(ratio: float) -> str:
    return f"{ratio:.0f} times" if ratio >= 9.95 else f"{ratio:.1f} times"


def _listed(words: Sequence[str]) -> str:
    """One, two and three; with semicolons where an entry has commas of its own."""
    if any("," in word for word in words):
        return "; ".join(words)
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
