"""When to end a job early: a part of the bank that the student never learns from tells.

No label and no test image is looked at: what is watched is how far the student's answers are
from the teacher's on images that were drawn like the others. (In a bank of mixed images a few of
them share the draw of images that are learned.)
"""

import math

import torch
from torch import Tensor

from envoi.checkpoint import State

# Share of the bank that is held out, and how often in a job it is looked at.
HELD_OUT = 0.05
CHECKS = 40


class Patience:
    """Counts the checks that brought nothing.

    Args:
        checks: Without a better divergence, after which the job ends; 0 never ends it.
        steps: Of the whole job.
    """

    def __init__(self, checks: int, steps: int) -> None:
        self._checks, self._every = checks, math.ceil(steps / CHECKS)
        self._best, self._since = math.inf, 0

    @property
    def spent(self) -> bool:
        """Whether the job is to end."""
        return 0 < self._checks <= self._since

    def held_out(self, images: int) -> int:
        """How many of so many images are held out, the last ones; none where nobody checks."""
        return max(1, round(HELD_OUT * images)) if self._checks else 0

    def is_due(self, step: int) -> bool:
        """Whether the divergence is to be looked at after so many steps."""
        return self._checks > 0 and step % self._every == 0

    def note(self, divergence: float) -> None:
        """What was found."""
        better = divergence < self._best
        self._best = min(divergence, self._best)
        self._since = 0 if better else self._since + 1

    def state(self) -> State:
        """For a checkpoint."""
        best = torch.tensor(self._best, dtype=torch.float64)
        return {"best": best, "since": torch.tensor(self._since)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `state`."""
        self._best, self._since = float(state["best"]), int(state["since"])
