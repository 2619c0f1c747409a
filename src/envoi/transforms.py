"""From stored pixels to network inputs, and the random changes made to inputs.

Everything here works on batches `(batch, channel, height, width)` and draws from a generator
argument. Inputs are normalised (about -1..1); stored pixels are uint8 in 0..255.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from envoi.errors import Problem, ShapeError
from envoi.types import ImageSpec

Images = Float[Tensor, "batch channel height width"]


def normalise(
    pixels: NDArray[np.uint8] | UInt8[Tensor, "batch channel height width"], spec: ImageSpec
) -> Images:
    """Stored pixels (0..255) as network inputs, in the memory order that CPUs like best.

    Raises:
        ShapeError: The pixels have other channels or another size than `spec`, or `spec` has not
            one mean and deviation for each channel.
    """
    _check_shape(tuple(pixels.shape), spec)
    low, high = spec.value_range
    if isinstance(pixels, np.ndarray):  # torch takes no reversed and no read-only views
        pixels = torch.from_numpy(np.require(pixels, requirements=("C", "W")))
    scaled = (pixels.to(torch.float32) - low) / (high - low)
    return from_unit(scaled, spec).contiguous(memory_format=torch.channels_last)


def denormalise(inputs: Images, spec: ImageSpec) -> UInt8[Tensor, "batch channel height width"]:
    """Network inputs as 8-bit pixels for people to look at; values outside are clipped."""
    unit = to_unit(inputs.detach().cpu(), spec)
    return (unit.clamp(0, 1) * 255).round().to(torch.uint8)


def to_unit(inputs: Images, spec: ImageSpec) -> Images:
    """Network inputs on the CPU as values from 0 (the least stored pixel) to 1 (the greatest)."""
    return inputs * _per_channel(spec.deviation) + _per_channel(spec.mean)


def from_unit(unit: Images, spec: ImageSpec) -> Images:
    """Values from 0 to 1 on the CPU as network inputs."""
    return (unit - _per_channel(spec.mean)) / _per_channel(spec.deviation)


def clamped(inputs: Images, spec: ImageSpec) -> Images:
    """Network inputs with every pixel in the range that a stored pixel can have."""
    low, high = spec.value_range
    mean, deviation = _per_channel(spec.mean), _per_channel(spec.deviation)
    ends = [((end - low) / (high - low) - mean) / deviation for end in (0.0, 255.0)]
    return inputs.clamp(*(end.to(inputs.device) for end in ends))


def jitter(images: Images, limit_px: int, generator: torch.Generator) -> Images:
    """Shift the whole batch circularly by up to `limit_px` in each direction."""
    shifts = torch.randint(-limit_px, limit_px + 1, (2,), generator=generator).tolist()
    return torch.roll(images, shifts, dims=(2, 3))


def augment(
    images: Images, generator: torch.Generator, *, shift_px: int = 2, flip: bool = True
) -> Images:
    """Shift each image at random by up to `shift_px`, edges reflected, and mirror half of them.

    Mirroring exchanges left and right, which keeps the label of cells or skin and changes that of
    a left kidney: whoever calls knows the classes and says whether to `flip`.
    """
    batch, _, height, width = images.shape
    if flip:
        mirrored = torch.rand(batch, generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    padded = functional.pad(images, (shift_px,) * 4, mode="reflect")
    offsets = torch.randint(0, 2 * shift_px + 1, (batch, 2), generator=generator)
    rows = offsets[:, :1] + torch.arange(height)
    columns = offsets[:, 1:] + torch.arange(width)
    index = torch.arange(batch)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _check_shape(shape: tuple[int, ...], spec: ImageSpec) -> None:
    """Refuse what broadcasting would silently make fit."""
    problems = []
    if shape[1:] != (spec.channels, spec.size_px, spec.size_px):
        expected = f"images of {spec.channels} channels, {spec.size_px} x {spec.size_px} pixels"
        remedy = "Prepare the images with the channels and size that the study asks for."
        problems.append(Problem(expected, f"shape {shape}", "images", remedy))
    if {len(spec.mean), len(spec.deviation)} != {spec.channels}:
        expected = f"{spec.channels} means and deviations, one for each channel"
        found = f"{len(spec.mean)} and {len(spec.deviation)}"
        remedy = "Give as many, or build it with ImageSpec.of."
        problems.append(Problem(expected, found, "image specification", remedy))
    if problems:
        raise ShapeError(*problems)


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None]
