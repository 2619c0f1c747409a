import pytest

from envoi.data.findings import merged, refuse, together
from envoi.errors import DataError, Problem


def problem(number: int, expected: str = "a square") -> Problem:
    return Problem(expected, f"{number} corners", f"line {number}", "Mend it.")


def test_like_problems_become_one_with_a_count_of_the_rest():
    (told,) = merged(problem(number) for number in range(1, 101))
    assert told.where == "lines 1, 2, 3, 4, 5 and 95 more"
    assert told.found == "1 corners or 2 corners or 3 corners and 97 more"


@pytest.mark.parametrize(
    ("places", "told"),
    [
        (["labels, line 2"], "labels, line 2"),
        (["labels, line 2", "labels, line 3"], "labels, lines 2 and 3"),
        (["class 'file 3', file 1 of it", "class 'file 3', file 2 of it"],
         "class 'file 3', files 1 and 2 of it"),
        (["labels, line 2", "table, line 3"], "labels, line 2; table, line 3"),
        (["labels, line 2", "table"], "labels, line 2; table"),
    ],
)  # fmt: skip
def test_places_that_differ_in_their_number_are_told_together(places, told):
    assert together(places) == told


def test_unlike_problems_stay_apart_and_in_order():
    told = merged([problem(1, "a square"), problem(2, "a circle"), problem(3, "a square")])
    assert [item.expected for item in told] == ["a square", "a circle"]
    assert told[1] == problem(2, "a circle")


def test_merging_twice_changes_nothing():
    once = merged(problem(number, f"shape {number % 3}") for number in range(30))
    assert merged(once) == once


def test_number_of_kinds_is_bounded():
    told = merged(problem(number, f"shape {number}") for number in range(50))
    assert len(told) == 21
    assert told[-1].found == "30 more kinds of problems"


def test_refuse_raises_all_at_once_and_only_if_there_are_some():
    refuse([])
    with pytest.raises(DataError) as caught:
        refuse([problem(1), problem(2, "a circle")])
    assert len(caught.value.problems) == 2
