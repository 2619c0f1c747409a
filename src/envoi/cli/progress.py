"""Progress of a long job in the terminal, and a Ctrl-C that loses nothing."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from envoi.progress import OnStep
from envoi.results import StepInfo

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID
SAVED = "progress is saved; run the same command again to go on from here."
_LINE_SECONDS = 10.0


@contextmanager
def following() -> Iterator[OnStep]:
    """A callback that shows every step, and stops between two steps when it is asked to.

    The first Ctrl-C (or SIGTERM) has the running step finished and saved in its checkpoint, then
    raises `KeyboardInterrupt` with a line on how to resume. A second one stops at once.
    """
    from rich.console import Console

    with _stopping() as stop:
        console = Console(stderr=True, highlight=False)
        with _bar(console) if console.is_terminal else _lines(console) as show:

            def on_step(info: StepInfo) -> None:
                stop(info)  # first: a signal that comes from here on has missed this step's offer
                show(info)

            yield on_step


@contextmanager
def _stopping() -> Iterator[OnStep]:
    from envoi.checkpoint import Checkpoint

    asked = False

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (a signal handler)
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        # Loops offer their state before they report a step: the next offer is written.
        Checkpoint.urgent = True

    def stop(_: StepInfo) -> None:
        if asked:
            raise KeyboardInterrupt(SAVED)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        Checkpoint.urgent = False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bar(console: "Console") -> Iterator[OnStep]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.table import Column

    told = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        Remaining(),
        TextColumn("{task.fields[told]}", table_column=told, markup=False),
    )
    tasks: dict[str, TaskID] = {}
    known: dict[str, dict[str, float]] = {}
    with Progress(*columns, console=console, expand=True) as progress:

        def show(info: StepInfo) -> None:
            if info.phase not in tasks:
                tasks[info.phase] = progress.add_task(info.phase, total=info.steps, told="")
            # Losses of an epoch's end stay in view while the next one runs.
            losses = {**known.get(info.phase, {}), **info.losses}
            losses.pop("train_loss" if "loss" in losses else "", None)
            known[info.phase] = losses
            epoch = f"epoch {info.epoch} " if info.epoch else ""
            line = f"{epoch}{_told(losses)}"
            progress.update(tasks[info.phase], completed=info.step, told=line)

        yield show


@contextmanager
def _lines(console: "Console") -> Iterator[OnStep]:
    """For log files: a line now and then."""
    last = time.monotonic()
    first: dict[str, tuple[int, float]] = {}

    def show(info: StepInfo) -> None:
        nonlocal last
        now = time.monotonic()
        step, began = first.setdefault(info.phase, (info.step, now))
        if now - last < _LINE_SECONDS or info.step == step:
            return
        left = (now - began) / (info.step - step) * (info.steps - info.step)
        last = now
        epoch = f", epoch {info.epoch}" if info.epoch else ""
        told = f"{_told(info.losses)}, " if info.losses else ""
        line = (
            f"{info.phase}{epoch}: {told}step {info.step} of {info.steps}, about {left:.0f} s left"
        )
        console.print(line, markup=False, soft_wrap=True)

    yield show


def _told(losses: Mapping[str, float]) -> str:
    named = {name.replace("validation_", "val. "): value for name, value in losses.items()}
    return " ".join(f"{name} {value:.3g}" for name, value in named.items())
