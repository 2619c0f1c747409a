"""What a comparison of volumes found, in plain sentences computed from the scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from envoi.evaluation.scores import Copies, SetScores, VolumeScores
from envoi.report.names import percent
from envoi.report.volumes.measures import Measure, measures

BLIND_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure below the verdict."""

    value: str
    label: str


def verdict(scores: VolumeScores) -> str:
    """Three sentences: what was compared, what is as real volumes are, and copies."""
    ours = scores.synthetic
    groups = _families(measures(ours, scores.held_out))
    within = [name for name, group in groups.items() if all(one.within for one in group)]
    beyond = [_beyond(name, group) for name, group in groups.items() if name not in within]
    said = [
        f"{_brains(ours.volumes, 'synthetic brain')} against "
        f"{_brains(scores.training_volumes, 'real one')} that the model learnt from and "
        f"{scores.held_out.volumes} that it never saw."
    ]
    if not beyond:
        said.append("Every measure is within what held-out real brains score.")
    elif not within:
        said.append("No measure is within what held-out real brains score.")
    else:
        said.append(f"Within what held-out real brains score: {_listed(within)}.")
    if beyond:
        said.append(f"Not within: {_listed(beyond)}.")
    return " ".join([*said, _copies(ours)])


def notes(scores: VolumeScores) -> tuple[str, ...]:
    """What must be said beside the verdict, the unwelcome first."""
    found = [
        "This page shows real scans too, and holds the voxels of one: keep it where the scans may "
        "be kept.",
        _near(scores.synthetic.copies),
        _blind(scores),
        "Finding no copies is no proof of privacy: whole brains are compared, and not parts of "
        "them.",
    ]
    return tuple(note for note in found if note)


def figures(scores: VolumeScores) -> tuple[Figure, ...]:
    """The key figures."""
    ours, real = scores.synthetic, scores.held_out
    every = measures(ours, real)
    times = [one.times for one in every if one.family.startswith("Frechet") and one.times]
    shown = [
        Figure(f"{sum(one.within for one in every)} of {len(every)}", "measures within held-out"),
        Figure(f"{_copied(ours)} of {ours.volumes}", "synthetic brains that are copies"),
        Figure(f"{ours.similarity.mean:.2f}", f"MS-SSIM of pairs; real {real.similarity.mean:.2f}"),
    ]
    if times:
        worst = Figure(f"{_times(max(times))}", "the held-out Frechet distance, at worst")
        shown.insert(1, worst)
    return tuple(shown)


def _families(every: Iterable[Measure]) -> dict[str, list[Measure]]:
    groups: dict[str, list[Measure]] = {}
    for one in every:
        groups.setdefault(one.family, []).append(one)
    return groups


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
    copied = _copied(scores)
    if not copied:
        return "No synthetic brain was found to be a copy of one that the model learnt from."
    verb = "is a copy" if copied == 1 else "are copies"
    share = percent(copied / scores.volumes, 0)
    return f"{copied} of {scores.volumes} ({share}) {verb} of a brain that the model learnt from."


def _copied(scores: SetScores) -> int:
    """By the space that finds more of them."""
    return max(one.copied for one in scores.copies)


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
        copied = _copied(control) > control.volumes * BLIND_SHARE
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
