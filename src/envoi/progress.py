"""How loops tell what they do: a callback, so that numerics never print."""

from collections.abc import Callable

from envoi.results import StepInfo

OnStep = Callable[[StepInfo], None]


def ignore_step(_: StepInfo) -> None:
    """The default callback: nobody listens."""
