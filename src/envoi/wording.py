"""Small turns of phrase that messages and commands have in common."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_LONGEST_VALUE = 40


def counted(number: int, noun: str) -> str:
    """`1 image`, `2 images`; for nouns whose plural ends in a plain s."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two nested settings: `training.steps: 600 then, 700 now`.

    Long values, such as digests, are left out: `subjects`.
    """
    old, new = dict(_flattened(before)), dict(_flattened(now))
    told = []
    for name in sorted(old.keys() | new.keys()):
        then, later = (str(part.get(name, "none")) for part in (old, new))
        if then != later:
            short = max(len(then), len(later)) <= _LONGEST_VALUE
            told.append(f"{name}: {then} then, {later} now" if short else name)
    return told


def _flattened(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{before}{key}.")
        elif value is not None:
            yield f"{before}{key}", value


def did_you_mean(name: str, known: Iterable[str], *, otherwise: str, cutoff: float = 0.6) -> str:
    """A remedy that names the nearest known name.

    Args:
        name: What was given.
        known: All that could have been meant.
        otherwise: The remedy if nothing is near.
        cutoff: Likeness from 0 (anything is near) to 1 (only `name` itself is).
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"Did you mean {near[0]!r}?" if near else otherwise


def expected_by(item: "ErrorDetails") -> str:
    """What pydantic expected, in the words of a `Problem`: `a valid integer`."""
    if item["type"] == "missing":
        return "a value"
    words = item["msg"].removeprefix("Input should ").removeprefix("be ")
    # What follows tells how it was parsed, and the problem says what was found anyway.
    return words.partition(", unable to")[0].partition(", got ")[0]
