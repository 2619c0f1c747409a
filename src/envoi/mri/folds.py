"""Covariances over all people but some, for training (cross-fitting).

A covariance knows the people whom it was computed from better than anybody else. A network that
learns to add to it would learn that there is nothing to add; so each person is shown with the
covariance over others. The atlas, whose mean and deviation are volumes and not pairs, stays
everybody's.

Memory: `folds` times that of a `Gaussian`, while training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from envoi.errors import MethodError, Problem
from envoi.mri.choices import below
from envoi.mri.gaussian import Gaussian
from envoi.mri.population import Persons

_LEAST_PEOPLE = 2  # of each fold


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Some people's volumes, and the covariance over everybody else's.

    Attributes:
        members: Places of the volumes in their population.
        others: What is known without them.
    """

    members: tuple[int, ...]
    others: Gaussian


def folds_of(
    volumes: Float[Tensor, "volume _ _ _"],
    persons: Persons,
    people: Sequence[int],
    factors: int,
    count: int,
) -> list[Fold]:
    """Folds of about equal size; all volumes of one person are in the same one.

    Args:
        volumes: As `Gaussian.learn` takes them.
        persons: Of whose age and sex each volume is.
        people: Whose each volume is.
        factors: Of each covariance.
        count: Of folds; there are none where each would have fewer than two people, or for 0.
    """
    ranks = {person: rank for rank, person in enumerate(dict.fromkeys(people))}
    if not count or len(ranks) < _LEAST_PEOPLE * count:
        return []
    fold_of = torch.tensor([ranks[person] % count for person in people])
    folds = []
    for number in range(count):
        others = Gaussian(volumes.shape[1:], factors).to(volumes.device)
        others.learn(volumes[fold_of != number], persons[fold_of != number])
        folds.append(Fold(tuple((fold_of == number).nonzero()[:, 0].tolist()), others))
    return folds


def blank_folds(shape: Sequence[int], factors: int, count: int) -> list[Fold]:
    """Folds of a population of one, which have learned nothing: as large as any."""
    return [Fold((0,) if number == 0 else (), Gaussian(shape, factors)) for number in range(count)]


def fold_for(folds: Sequence[Fold], volumes: int, generator: torch.Generator) -> Fold:
    """The fold of a volume drawn at random, so that all volumes are drawn equally often.

    Raises:
        MethodError: The folds are of another number of volumes.
    """
    known = sum(len(fold.members) for fold in folds)
    if known != volumes:
        expected, remedy = f"the {known} volumes that were prepared for", "Call `prepare` first."
        raise MethodError(Problem(expected, f"{volumes}", "population", remedy))
    place = below(volumes, generator)
    return next(fold for fold in folds if place in fold.members)
