"""The random changes that a training asks for: shifts and flips, crops, turns, light.

Crops, mirroring and light are those of the FedISCA paper's 224-pixel sets (RandomResizedCrop,
flips, brightness and contrast; turns and shears for fundus and skin). Crop, turn and shear are one
affine map, so each image is interpolated once.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from envoi.settings import TrainingSettings
from envoi.transforms import Images, augment, from_unit, to_unit
from envoi.types import ImageSpec

WIDEST = 4 / 3
"""Of a crop's width to its height, and the other way round."""

Maps = Float[Tensor, "batch 2 3"]


def varied(
    images: Images, generator: torch.Generator, settings: TrainingSettings, spec: ImageSpec
) -> Images:
    """Each image changed in its own way; as they are where `settings` has no `augment`.

    Args:
        images: Normalised, on the CPU.
        generator: Of all that is drawn.
        settings: What may change, and how far.
        spec: How pixels became inputs: light is a matter of pixels.
    """
    if not settings.augment:
        return images
    shift_px = 2 if settings.crop_area == 1 else 0  # a crop moves by itself
    images = augment(images, generator, shift_px=shift_px, flip=settings.flip)
    if settings.crop_area < 1 or settings.rotation_degrees or settings.shear:
        images = warped(images, _maps(len(images), settings, generator))
    if settings.brightness or settings.contrast:
        images = _relit(images, settings, spec, generator)
    return images.contiguous(memory_format=torch.channels_last)


def warped(images: Images, maps: Maps) -> Images:
    """Each image as its affine map sees it, bilinearly; beyond the edge is its reflection.

    Args:
        images: Of any values.
        maps: From places of the new image to places of the old, both -1..1 along an edge, x first.
    """
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _maps(count: int, settings: TrainingSettings, generator: torch.Generator) -> Maps:
    """A crop, resized to the whole, then turned and sheared about its middle."""
    turn = math.radians(settings.rotation_degrees) * _signed(count, generator)
    shear = settings.shear * _signed(count, generator)
    cos, sin = turn.cos(), turn.sin()
    area = 1 - (1 - settings.crop_area) * torch.rand(count, generator=generator)
    ratio = (math.log(WIDEST) * _signed(count, generator)).exp()
    if settings.crop_area == 1:
        ratio = torch.ones(count)
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    right = (1 - width) * _signed(count, generator)
    down = (1 - height) * _signed(count, generator)
    x = torch.stack([width * cos, width * (shear * cos - sin), right], dim=1)
    y = torch.stack([height * sin, height * (shear * sin + cos), down], dim=1)
    return torch.stack([x, y], dim=1)


def _relit(
    images: Images, settings: TrainingSettings, spec: ImageSpec, generator: torch.Generator
) -> Images:
    """Brighter or darker, then with more or less contrast about the image's mean."""
    brightness = 1 + settings.brightness * _signed(len(images), generator)
    contrast = 1 + settings.contrast * _signed(len(images), generator)
    unit = (to_unit(images, spec) * brightness[:, None, None, None]).clamp(0, 1)
    mean = unit.mean(dim=(1, 2, 3), keepdim=True)
    unit = mean + (unit - mean) * contrast[:, None, None, None]
    return from_unit(unit.clamp(0, 1), spec)


def _signed(count: int, generator: torch.Generator) -> Float[Tensor, " batch"]:
    """Uniform between -1 and 1."""
    return 2 * torch.rand(count, generator=generator) - 1
