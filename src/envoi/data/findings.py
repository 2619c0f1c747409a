"""Many like problems told as one, so that a thousand bad files fit on a screen.

Files are counted and not named: the name of a file may identify a patient.
"""

import re
from collections.abc import Iterable, Sequence

from envoi.errors import DataError, Problem

_PLACES_SHOWN = 5
_KINDS_SHOWN = 3
_PROBLEMS_SHOWN = 20
_NUMBERED = re.compile(r"(.*?)\b(line|file) (\d+)(\D*)")


def merged(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """One problem for each expectation and remedy, with its first places and a count of the rest.

    Bounded: at most 20 problems of 5 places each, and one that counts what was left out.
    """
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.expected, problem.remedy), []).append(problem)
    told = [_as_one(group) for group in groups.values()]
    if len(told) > _PROBLEMS_SHOWN:
        more = f"{len(told) - _PROBLEMS_SHOWN} more kinds of problems"
        told[_PROBLEMS_SHOWN:] = [
            Problem("nothing else", more, "the rest", "Mend the ones above and load again.")
        ]
    return tuple(told)


def refuse(problems: Iterable[Problem]) -> None:
    """Raise the merged `problems`, if there are any.

    Raises:
        DataError: There are some.
    """
    told = merged(problems)
    if told:
        raise DataError(*told)


def together(places: Sequence[str]) -> str:
    """`table, lines 2, 3, 4, 5, 6 and 44 more`: the first five places, and a count of the rest."""
    numbered = [_NUMBERED.fullmatch(place) for place in places]
    kinds = {match and (match[1], match[2], match[4]) for match in numbered}
    if len(places) < 2 or len(kinds) > 1 or None in kinds:
        return _listed(places, _PLACES_SHOWN, "; ")
    before, noun, after = next(kind for kind in kinds if kind)
    numbers = [match[3] for match in numbered if match]
    rest = len(numbers) - _PLACES_SHOWN
    last = f"{rest} more" if rest > 0 else numbers.pop()
    return f"{before}{noun}s {', '.join(numbers[:_PLACES_SHOWN])} and {last}{after}"


def _as_one(group: Sequence[Problem]) -> Problem:
    found = list(dict.fromkeys(problem.found for problem in group))
    where = list(dict.fromkeys(problem.where for problem in group))
    return Problem(
        group[0].expected,
        _listed(found, _KINDS_SHOWN, " or "),
        together(where),
        group[0].remedy,
    )


def _listed(items: Sequence[str], shown: int, separator: str) -> str:
    rest = len(items) - shown
    return separator.join(items[:shown]) + (f" and {rest} more" if rest > 0 else "")
