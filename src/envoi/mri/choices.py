"""Random choices that decide what code does next: a plane, a shift, a window.

They are Python numbers. They are drawn for real even where tensors are not (`envoi.mri.memory` runs
this room's code on tensors without content, which could not be asked for their value).
"""

from collections.abc import Iterable

import torch

# No public name: suspends whatever watches or replaces tensor operations.
from torch.utils._python_dispatch import _disable_current_modes

from envoi.errors import Problem, SettingsError


def below(bound: int, generator: torch.Generator) -> int:
    """A whole number from 0 to below `bound`."""
    with _disable_current_modes():
        return int(torch.randint(bound, (), generator=generator))


def uniform(generator: torch.Generator) -> float:
    """A number from 0 to below 1."""
    with _disable_current_modes():
        return float(torch.rand((), generator=generator))


def check_multiples(name: str, values: Iterable[int], of: int) -> None:
    """Refuse values that are no positive multiples of a number, or none at all.

    Raises:
        SettingsError: One is not, or there is none.
    """
    values = tuple(values)
    if not values or any(value < 1 or value % of for value in values):
        expected = "positive" if of == 1 else f"positive multiples of {of}"
        found, remedy = ", ".join(map(str, values)) or "none", f"Correct {name}."
        raise SettingsError(Problem(expected, found[:80], name, remedy))


def check_share(name: str, value: float) -> None:
    """Refuse what is no share.

    Raises:
        SettingsError: It is not from 0 to 1.
    """
    if not 0 <= value <= 1:
        remedy = f"Correct {name}."
        raise SettingsError(Problem("a value from 0 to 1", repr(value)[:80], name, remedy))
