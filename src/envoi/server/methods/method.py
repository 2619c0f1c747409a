"""The seam for methods: configure by constructing, then one verb.

A method is a frozen dataclass with `fit`. Any object with that verb will do:
`envoi server distil --method package.module:Name` takes an outsider's. One whose student learns
from synthetic images says so by an attribute `synthesises`, and its runs show such images. One
that asks one network after another says so by `streams`; others get all networks in memory. One
that knows its arithmetic has `flop` (`Counted`); without it the tables say 0. One whose student
learns the answers of a single classifier has `taught_by` (`Taught`), and its report shows both.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import nn

from envoi.checkpoint import Checkpoint
from envoi.progress import OnStep, ignore_step
from envoi.server.teacher import Teachers
from envoi.settings import Budget


@runtime_checkable
class Method(Protocol):
    """Turns teachers into one classifier."""

    def fit(
        self,
        teachers: Teachers,
        student: nn.Module,
        *,
        budget: Budget,
        generator: torch.Generator,
        on_step: OnStep = ignore_step,
        checkpoint: Checkpoint | None = None,
    ) -> nn.Module:
        """A classifier in evaluation mode.

        Equal arguments give equal weights, bit for bit on CPU, whether or not the job was killed
        and resumed from `checkpoint` on the way. The teachers are not changed.

        Args:
            teachers: The sites' frozen networks and counts.
            student: Freshly initialised from the study's seed; trained in place.
            budget: How much to compute.
            generator: Source of all randomness.
            on_step: Told about each step.
            checkpoint: Where to leave state, if the job is to be resumable.

        Raises:
            MethodError: The method cannot work with these teachers.
        """
        ...


@runtime_checkable
class Counted(Protocol):
    """A method that knows its arithmetic."""

    def flop(self, teachers: Teachers, student: nn.Module, *, budget: Budget) -> float:
        """Floating-point operations of the matrix products of `fit`."""
        ...


@runtime_checkable
class Taught(Protocol):
    """A method whose student learns the answers of one classifier that does not change."""

    def taught_by(self, teachers: Teachers) -> nn.Module | None:
        """That classifier in evaluation mode; None where these settings have no such one."""
        ...


def teacher_of(method: object, teachers: Teachers) -> nn.Module | None:
    """The classifier that a method's student learns from; None where it does not tell."""
    return method.taught_by(teachers) if isinstance(method, Taught) else None


def flop_of(method: object, teachers: Teachers, student: nn.Module, *, budget: Budget) -> float:
    """The arithmetic of a method; 0 where it does not tell."""
    if not isinstance(method, Counted):
        return 0.0
    return method.flop(teachers, student, budget=budget)


def synthesises(method: object) -> bool:
    """Whether a method's student learns from synthetic images; those that do not say so do not."""
    return bool(getattr(method, "synthesises", False))


def streams(method: object) -> bool:
    """Whether a method needs no more than one network at a time; those that do not say so do."""
    return bool(getattr(method, "streams", False))
