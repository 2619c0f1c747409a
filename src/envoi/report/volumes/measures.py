"""Each measure of a set beside what held-out real volumes score, and whether it is within that.

A measure is turned into how far it is from the best there is: 0 is best, more is worse. *Within*
is at most a quarter more than held-out volumes score, which are few: of equally good sets one may
well be a little above. Where held-out volumes come out at almost 0, a limit says what is too
little to matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from envoi.evaluation.scores import SetScores

SLACK = 1.25
LEAST_SEAM = 0.05  # a step at borders that is a twentieth larger than elsewhere


@dataclass(frozen=True, slots=True)
class Measure:
    """How far a set is from real volumes, by one measure.

    Attributes:
        name: In words.
        family: Measures that are told together, such as those of one extractor.
        excess: From the best there is; 0 is best.
        limit: Up to which it is within what held-out volumes score.
        times: `excess` over that of held-out volumes; None where that tells nothing.
        plane: Whether it is a distance of the sections of one plane.
    """

    name: str
    family: str
    excess: float
    limit: float
    times: float | None = None
    plane: bool = False

    @property
    def within(self) -> bool:
        """Whether held-out real volumes score about as much."""
        return self.excess <= self.limit


def measures(scores: SetScores, held_out: SetScores) -> tuple[Measure, ...]:
    """All measures of a set, in the order of the table."""
    return (
        _similarity(scores, held_out),
        _discrepancy(scores, held_out),
        *_frechet(scores, held_out),
        _jumps(scores, held_out),
        _seams(scores, held_out),
        _seams_anywhere(scores, held_out),
        *_regions(scores, held_out),
    )


def _similarity(scores: SetScores, held_out: SetScores) -> Measure:
    """Pairs may be too much alike, or too little; real pairs tell how much they differ in it."""
    excess = abs(scores.similarity.mean - held_out.similarity.mean)
    return Measure("MS-SSIM among pairs", "MS-SSIM", excess, held_out.similarity.deviation)


def _discrepancy(scores: SetScores, held_out: SetScores) -> Measure:
    """Unbiased, so that held-out volumes may be below 0 by as much as chance puts them above."""
    chance = abs(held_out.discrepancy().squared)
    return Measure("MMD", "MMD", max(0.0, scores.discrepancy().squared), SLACK * chance)


def _frechet(scores: SetScores, held_out: SetScores) -> Iterator[Measure]:
    for one, real in zip(scores.frechet, held_out.frechet, strict=True):
        times = one.distance / real.distance if real.distance > 0 else None
        family = f"Frechet distances on {one.extractor}"
        yield Measure(one.plane, family, one.distance, SLACK * real.distance, times, plane=True)


def _jumps(scores: SetScores, held_out: SetScores) -> Measure:
    ours, real = (one.through_plane.largest_jump for one in (scores, held_out))
    return Measure(
        "jumps", "jumps between slices", ours, SLACK * real, ours / real if real else None
    )


def _seams(scores: SetScores, held_out: SetScores) -> Measure:
    """Only a step that is larger than in training volumes at the same slices is a seam."""
    ours, real = (
        max(0.0, one.through_plane.seams - one.through_plane.reference_seams)
        for one in (scores, held_out)
    )
    return Measure("at borders", "seams", ours, max(LEAST_SEAM, SLACK * real))


def _seams_anywhere(scores: SetScores, held_out: SetScores) -> Measure:
    ours, real = (one.through_plane.seams_anywhere for one in (scores, held_out))
    times = ours / real if real else None
    return Measure("anywhere", "seams", ours, SLACK * real, times)


def _regions(scores: SetScores, held_out: SetScores) -> Iterator[Measure]:
    """An effect is within the interval of held-out volumes, on either side of 0."""
    for one, real in zip(scores.anatomy, held_out.anatomy, strict=True):
        limit = max(abs(real.effect.low), abs(real.effect.high))
        yield Measure(one.region, "volumes of regions", abs(one.effect.value), limit)
