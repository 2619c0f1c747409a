"""Who is in which fold, and what each fold knows."""

import pytest
import torch

from envoi.mri.folds import fold_for, folds_of
from envoi.mri.gaussian import Gaussian

SHAPE = (3, 4, 6)


@pytest.fixture
def volumes(generator):
    return torch.randn(9, *SHAPE, generator=generator)


@pytest.fixture
def persons(generator):
    return torch.randn(9, 2, generator=generator)


def test_a_fold_knows_all_volumes_but_its_own(volumes, persons):
    folds = folds_of(volumes, persons, range(9), factors=20, count=4)
    assert sorted(place for fold in folds for place in fold.members) == list(range(9))
    for fold in folds:
        others = Gaussian(SHAPE, 20)
        rest = [place for place in range(9) if place not in fold.members]
        others.learn(volumes[rest], persons[rest])
        assert fold.others.weights.equal(others.weights)
        assert fold.others.left.equal(others.left)
        assert fold.others.effects.slopes.equal(others.effects.slopes)


def test_all_scans_of_a_person_are_in_one_fold(volumes, persons):
    people = (5, 5, 1, 2, 5, 1, 3, 3, 3)
    folds = folds_of(volumes, persons, people, factors=20, count=2)
    for fold in folds:
        inside = {people[place] for place in fold.members}
        outside = {people[place] for place in range(9) if place not in fold.members}
        assert not inside & outside
        assert len(inside) == 2


@pytest.mark.parametrize(("people", "number"), [(7, 0), (8, 4), (9, 4)])
def test_each_fold_has_two_people_or_there_are_none(people, number, volumes, persons):
    owners = [place % people for place in range(9)]
    assert len(folds_of(volumes, persons, owners, factors=20, count=4)) == number


def test_all_volumes_are_drawn_equally_often(volumes, persons, generator):
    folds = folds_of(volumes, persons, range(9), factors=20, count=4)
    drawn = [len(fold_for(folds, 9, generator).members) for _ in range(1800)]
    assert drawn.count(3) == pytest.approx(600, abs=80)  # three of nine; deviation 20
