"""Diffusion as a rotation from noise (angle 0) to data (angle pi / 2), at its own pace per voxel.

For data z and noise n of variance one, z_t = sin(angle) z + cos(angle) n, which keeps the variance
at one. A network predicts v = cos(angle) z - sin(angle) n, which is z_t turned by a quarter
(arXiv:2202.00512, appendix D), so that data and noise follow from z_t and v by turning back, with
no division anywhere. The preconditioning of arXiv:2206.00364 is the same thing.

Noise is of one strength in units of intensity, as in any diffusion model; voxels that vary less
than others are thus lost in noise earlier. Hence each voxel's angle: its tangent is
`deviation / typical` times tan(pi / 2 time), where `typical` is the strength of the noise.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Target = Literal["v", "flow"]
Times = Float[Tensor, " batch"]
_QUARTER = math.pi / 2


def schedule(time: Tensor | float, share: Tensor) -> Tensor:
    """The angle of each voxel.

    Args:
        time: 0 is noise, 1 data; broadcasts with `share`.
        share: Deviation of each voxel in units of the typical one, above 0.
    """
    turned = _QUARTER * torch.as_tensor(time, dtype=share.dtype, device=share.device)
    return torch.atan2(share * turned.sin(), turned.cos().clamp_min(0))


def rotated(data: Tensor, noise: Tensor, angle: Tensor) -> Tensor:
    """z_t."""
    return angle.sin() * data + angle.cos() * noise


def target_of(data: Tensor, noise: Tensor, angle: Tensor, target: Target) -> Tensor:
    """What a network is to predict: v, or the velocity of the straight path, data - noise."""
    if target == "v":
        return angle.cos() * data - angle.sin() * noise
    return data - noise


def data_of(state: Tensor, said: Tensor, angle: Tensor, target: Target) -> Tensor:
    """Data that z_t and a network's answer stand for.

    Memory: two volumes beside the three that are given, three for flow matching.
    """
    data = angle.cos().mul_(said)
    if target == "v":
        return data.add_(angle.sin().mul_(state))
    # x_t = alpha data + sigma noise of the straight path is z_t over the sum of sine and cosine.
    return data.add_(state).div_(angle.sin().add_(angle.cos()))


def parts(state: Tensor, said: Tensor, angle: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Data and noise that z_t and a network's answer stand for."""
    data = data_of(state, said, angle, target)
    if target == "v":
        return data, angle.cos().mul_(state).sub_(angle.sin().mul_(said))
    return data, (state - angle.sin().mul_(said)).div_(angle.sin().add_(angle.cos()))


def noise_of(state: Tensor, data: Tensor, angle: Tensor) -> Tensor:
    """The noise that stands beside data in z_t.

    Memory: two volumes beside the three that are given.
    """
    return angle.sin().mul_(data).neg_().add_(state).div_(angle.cos())


def compared(
    found: Tensor,
    state: Tensor,
    data: Tensor,
    noise: Tensor,
    angle: Tensor,
    target: Target,
    *,
    learning: bool,
) -> tuple[Tensor, Tensor]:
    """A network's answer and what it should have been.

    As the network learns it; or, where it does not learn, as v, in which targets compare.
    """
    if learning or target == "v":
        return found, target_of(data, noise, angle, target)
    said = target_of(*parts(state, found, angle, target), angle, "v")
    return said, target_of(data, noise, angle, "v")


def random_times(count: int, generator: torch.Generator) -> Times:
    """Times of a training batch: logit-normal (arXiv:2403.03206, section 3.1), one in ten uniform.

    Most of the loss is learned in the middle; the uniform part keeps the ends known.
    """
    normal = torch.randn(count, generator=generator).sigmoid()
    uniform = torch.rand(count, generator=generator)
    return torch.where(torch.rand(count, generator=generator) < 0.1, uniform, normal)
