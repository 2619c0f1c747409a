"""How loops tell what they do: a callback, so that numerics never print."""

from collections.abc import Callable

from envoi.results import RunFolder, StepInfo

OnStep = Callable[[StepInfo], None]

_LINES_PER_PHASE = 120


def ignore_step(_: StepInfo) -> None:
    """The default callback: nobody listens."""


def logged(run: RunFolder, on_step: OnStep = ignore_step) -> OnStep:
    """A callback that also writes steps.jsonl: about 120 steps of each phase, and every epoch.

    Args:
        run: Whose log is written.
        on_step: Told about every step as well.
    """

    def tell(info: StepInfo) -> None:
        every = max(1, info.steps // _LINES_PER_PHASE)
        if info.step % every == 0 or info.step == info.steps or "train_loss" in info.losses:
            run.append_step(info)
        on_step(info)

    return tell
