"""Membership inference: can whoever holds a model tell who was in its training?

The attack by thresholds (arXiv:1709.01604): those on whom a model does conspicuously well are
taken for members. It is measured on people who were in the training and people who were not, as
the area under its ROC curve (0.5 is guessing) and as how many people stand out where hardly
anybody would by chance. A stronger attack may tell more; none that is this weak tells less.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import stats

from envoi.results import Interval
from envoi.seeding import numpy_generator

FALSE_ALARMS = 0.01
"""Share of people outside whom the attack may take for members where people stand out."""

_LEAST = 2
_RESAMPLES = 300
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Membership:
    """What the attack came to; people are patients where patients are known, else images.

    Attributes:
        auc: Area under its ROC curve, with a 95 % interval of people drawn anew.
        members: People who were in the training.
        others: People who were not.
        standing_out: Members who are surer to be members than all but one in a hundred others.
        by_chance: How many would stand out if training had left no trace.
        of_patients: Whether patients are known.
    """

    auc: Interval
    members: int
    others: int
    standing_out: int
    by_chance: float
    of_patients: bool = True


def membership(
    members: Float[NDArray[np.floating], " inside"],
    others: Float[NDArray[np.floating], " outside"],
    *,
    members_of: Int[NDArray[np.integer], " inside"] | None = None,
    others_of: Int[NDArray[np.integer], " outside"] | None = None,
    seed: int = 0,
) -> Membership | None:
    """The attack's success; None with fewer than two people on either side.

    Args:
        members: For each image of the training how much it looks like a member, such as minus the
            model's loss on it.
        others: The same of images that the training never saw.
        members_of: Patient of each image; a patient's score is the mean of his images'.
        others_of: The same.
        seed: Of the resamples.
    """
    inside, outside = _by_person(members, members_of), _by_person(others, others_of)
    if min(len(inside), len(outside)) < _LEAST:
        return None
    draws = numpy_generator(seed, "membership")
    values = [
        _area(draws.choice(inside, len(inside)), draws.choice(outside, len(outside)))
        for _ in range(_RESAMPLES)
    ]
    auc = _area(inside, outside)
    low, high = np.percentile(values, _PERCENTILES).tolist()
    allowed = int(FALSE_ALARMS * len(outside))
    threshold = np.sort(outside)[::-1][allowed]
    return Membership(
        auc=Interval(auc, min(low, auc), max(high, auc)),
        members=len(inside),
        others=len(outside),
        standing_out=int((inside > threshold).sum()),
        # Of exchangeable people any is as likely as another to have a certain rank.
        by_chance=len(inside) * (allowed + 1) / (len(outside) + 1),
        of_patients=members_of is not None,
    )


def _area(inside: NDArray[np.floating], outside: NDArray[np.floating]) -> float:
    """Chance that a member looks more like one than somebody else does; ties count one half."""
    won = stats.mannwhitneyu(inside, outside, method="asymptotic").statistic
    return float(won / (len(inside) * len(outside)))


def _by_person(
    scores: Float[NDArray[np.floating], " image"], groups: Int[NDArray[np.integer], " image"] | None
) -> NDArray[np.floating]:
    if groups is None:
        return scores
    people, index = np.unique(groups, return_inverse=True)
    totals = np.bincount(index, weights=scores, minlength=len(people))
    return np.asarray(totals / np.bincount(index, minlength=len(people)))
