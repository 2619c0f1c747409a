"""Probability paths from noise (time 0) to data (time 1), and the equation that walks them.

A path mixes data and noise, x_t = alpha(t) x_1 + sigma(t) x_0. A network learns the velocity
alpha'(t) x_1 + sigma'(t) x_0, and sampling integrates dx/dt = velocity from noise to data.

`flow` is the straight path of flow matching (arXiv:2210.02747, section 4.1, with sigma_min 0;
arXiv:2209.03003). On the `cosine` path the velocity is -pi/2 times the v target of
arXiv:2202.00512, appendix D: the same target in other units, so that both share one solver.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

PathName = Literal["flow", "cosine"]
Times = Float[Tensor, " batch"]
Velocity = Callable[[Tensor, float], Tensor]
_TURN = math.pi / 2


@dataclass(frozen=True, slots=True)
class Path:
    """One of the two paths; time runs from 0 (noise) to 1 (data)."""

    name: PathName = "flow"

    def mixed(self, data: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """x_t; `time` is a number for each item of the batch, or one for all."""
        time = _over(data, time)
        if self.name == "flow":
            return time * data + (1 - time) * noise
        return torch.sin(_TURN * time) * data + torch.cos(_TURN * time) * noise

    def velocity(self, data: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """The derivative of x_t by time, the target of the network."""
        time = _over(data, time)
        if self.name == "flow":
            return data - noise
        return _TURN * (torch.cos(_TURN * time) * data - torch.sin(_TURN * time) * noise)

    def towards(self, mixed: Tensor, data: Tensor, time: Tensor, *, least: float = 1e-3) -> Tensor:
        """The velocity at x_t of the path that ends at `data`: for networks that predict it.

        Args:
            mixed: x_t.
            data: What x_1 is predicted to be.
            time: Of each item, or one for all.
            least: Share of noise that is divided by at the least. A loss on velocities would
                otherwise weigh the end of the path without bound (arXiv:2511.13720).
        """
        time = _over(data, time)
        if self.name == "flow":
            return (data - mixed) / (1 - time).clamp_min(least)
        signal, share = torch.sin(_TURN * time), torch.cos(_TURN * time)
        noise = (mixed - signal * data) / share.clamp_min(least)
        return _TURN * (share * data - signal * noise)

    def data(self, mixed: Tensor, velocity: Tensor, time: float) -> Tensor:
        """The x_1 that a velocity at x_t points to."""
        if self.name == "flow":
            return mixed + (1 - time) * velocity
        return math.sin(_TURN * time) * mixed + math.cos(_TURN * time) / _TURN * velocity


def random_times(count: int, generator: torch.Generator) -> Times:
    """Times of a training batch: logit-normal (arXiv:2403.03206, section 3.1), one in ten uniform.

    Most of the loss is learned in the middle of the path; the uniform part keeps its ends known.
    """
    normal = torch.randn(count, generator=generator).sigmoid()
    uniform = torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < 0.1, uniform, normal)


def integrate(velocity: Velocity, start: Tensor, steps: int) -> Tensor:
    """Walk from time 0 to 1 in equal steps (Euler); each step may look elsewhere in the volume.

    The times of the steps sum to exactly one, whatever their number.
    """
    state = start
    for step in range(steps):
        now, then = step / steps, (step + 1) / steps
        state = state + (then - now) * velocity(state, now)
    return state


def _over(data: Tensor, time: Tensor) -> Tensor:
    return time.reshape(-1, *[1] * (data.ndim - 1)) if time.ndim else time
