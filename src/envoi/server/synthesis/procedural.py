"""Procedural images: shapes and textures in given colours, drawn without any network.

Families that share what medical images are made of: overlapping shapes ("dead leaves", Lee,
Mumford and Huang 2001), textures with a power-law spectrum, curved vessels, layers, lobed
outlines, and fields of cells. An image of one family is drawn with the whole batch at once.

They know nothing of any site but a palette. They are the control that every synthesis has to
beat, and give synthesised images their fine detail.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from envoi.server.synthesis.palette import Palette

Images = Float[Tensor, "batch channel height width"]
Field = Float[Tensor, "batch height width"]
Family = Callable[[Images, Palette, torch.Generator], Images]

_SHAPES = 14
_VESSELS = 6
_LAYERS = 5
_LOBES = 3
_CELLS = 9


def procedural(count: int, size_px: int, palette: Palette, generator: torch.Generator) -> Images:
    """Images of all families in turn, on plain grounds, blurred more or less.

    Args:
        count: How many.
        size_px: Height and width.
        palette: Of normalised pixel values.
        generator: Source of all randomness.
    """
    names = list(FAMILIES)
    channels = len(palette.mean)
    images = torch.empty(count, channels, size_px, size_px)
    for number, name in enumerate(names):
        some = images[number :: len(names)]
        if len(some):
            ground = palette.mean + palette.draw((len(some),), generator)
            plain = ground[:, :, None, None].expand(-1, -1, size_px, size_px)
            images[number :: len(names)] = FAMILIES[name](plain, palette, generator)
    return blurred(textured(images, palette, generator), generator)


def leaves(images: Images, palette: Palette, generator: torch.Generator) -> Images:
    """Soft ellipses of all sizes, one over the other."""
    for _ in range(_SHAPES):
        draw = _uniform(images, 7, generator)
        radius = 0.08 * 12 ** draw[2]
        along, across = _turned(images, 2.4 * draw[:2] - 1.2, math.pi * draw[3])
        squeezed = across / (0.4 + 0.6 * draw[4])
        inside = _soft((along.square() + squeezed.square()).sqrt() / radius, 0.05 + 0.6 * draw[5])
        images = _painted(images, inside * (0.3 + 0.7 * draw[6]), palette, generator)
    return images


def textures(images: Images, palette: Palette, generator: torch.Generator) -> Images:
    """Noise with a power-law spectrum, its exponent drawn for each image."""
    exponent = 0.2 + 2 * _uniform(images, 1, generator)[0]
    noise = palette.draw((len(images), *images.shape[2:]), generator).permute(0, 3, 1, 2)
    return images + filtered(noise, exponent) * palette.strength


def vessels(images: Images, palette: Palette, generator: torch.Generator) -> Images:
    """Curved lines of changing width."""
    for _ in range(_VESSELS):
        draw = _uniform(images, 6, generator)
        along, across = _turned(images, 2 * draw[:2] - 1, math.pi * draw[2])
        bend = (draw[3] - 0.5) * 1.6
        distance = (across - bend * along.square()).abs()
        width = (0.03 + 0.12 * draw[4]) * (1 + 0.5 * torch.sin(3 * along + 6 * draw[5]))
        images = _painted(images, _soft(distance / width, draw[5] + 0.2), palette, generator)
    return images


def layers(images: Images, palette: Palette, generator: torch.Generator) -> Images:
    """Wavy bands across the image, as in optical coherence tomography."""
    tilt = _uniform(images, 1, generator)[0] * math.pi
    for _ in range(_LAYERS):
        draw = _uniform(images, 5, generator)
        along, across = _turned(images, torch.zeros(2, *draw.shape[1:]), tilt)
        waves = 0.15 * torch.sin((2 + 6 * draw[0]) * along + 6 * draw[1])
        edge = (across - (2.4 * draw[2] - 1.2) - waves) / (0.02 + 0.2 * draw[3])
        images = _painted(images, edge.sigmoid() * (0.3 + 0.7 * draw[4]), palette, generator)
    return images


def lobes(images: Images, palette: Palette, generator: torch.Generator) -> Images:
    """Blobs around the middle with an uneven outline, as lesions and nuclei have."""
    for _ in range(_LOBES):
        draw = _uniform(images, 8, generator)
        along, across = _turned(images, draw[:2] - 0.5, torch.zeros_like(draw[0]))
        angle = torch.atan2(across, along + 1e-6)
        outline = 0.15 + 0.7 * draw[2]
        for order, part in ((2, 3), (3, 4), (5, 5)):
            outline = outline * (1 + 0.25 * draw[part] * torch.sin(order * angle + 6 * draw[part]))
        radius = (along.square() + across.square()).sqrt() / outline
        inside = _soft(radius, 0.05 + 0.4 * draw[6]) * (0.4 + 0.6 * draw[7])
        images = _painted(images, inside, palette, generator)
    return images


def cells(images: Images, palette: Palette, generator: torch.Generator) -> Images:
    """Discs of one size with a smaller disc inside, spread over the image."""
    size = 0.1 + 0.4 * _uniform(images, 1, generator)[0]
    body, core = (palette.draw((len(images),), generator) for _ in range(2))
    for _ in range(_CELLS):
        draw = _uniform(images, 3, generator)
        along, across = _turned(images, 2.2 * draw[:2] - 1.1, torch.zeros_like(draw[0]))
        radius = (along.square() + across.square()).sqrt() / size
        soft = 0.05 + 0.2 * draw[2]
        for colour, scale in ((body, 1.0), (core, 2.0)):
            inside = _soft(scale * radius, soft)[:, None]
            images = images + inside * (palette.mean + colour)[:, :, None, None] - inside * images
    return images


def textured(images: Images, palette: Palette, generator: torch.Generator) -> Images:
    """A grain of random strength and exponent over each image."""
    draw = _uniform(images, 2, generator)
    noise = palette.draw((len(images), *images.shape[2:]), generator).permute(0, 3, 1, 2)
    strength = draw[0].square()[:, None] * palette.strength
    return images + strength * filtered(noise, 2 * draw[1])


def blurred(images: Images, generator: torch.Generator) -> Images:
    """Each image as it is, or blurred once or twice."""
    times = torch.randint(0, 3, (len(images), 1, 1, 1), generator=generator)
    row = torch.tensor([0.25, 0.5, 0.25])
    kernel = (row[:, None] * row).expand(images.shape[1], 1, 3, 3)
    for step in (1, 2):
        padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
        once = functional.conv2d(padded, kernel, groups=images.shape[1])
        images = torch.where(times >= step, once, images)
    return images


def filtered(noise: Images, exponent: Float[Tensor, "batch 1 1"]) -> Images:
    """White noise given a spectrum that falls with frequency to `-exponent`, deviation one."""
    size = noise.shape[-1]
    rows, columns = torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None]
    frequency = (rows.square() + columns.square()).sqrt().clamp_min(1 / size)
    shaped = torch.fft.rfft2(noise) * frequency ** -exponent[:, None]
    field: Tensor = torch.fft.irfft2(shaped, s=(size, size))
    return field / field.flatten(1).std(dim=1).clamp_min(1e-6)[:, None, None, None]


FAMILIES: dict[str, Family] = {
    "leaves": leaves,
    "textures": textures,
    "vessels": vessels,
    "layers": layers,
    "lobes": lobes,
    "cells": cells,
}


def _uniform(images: Images, count: int, generator: torch.Generator) -> Tensor:
    """`count` uniform numbers for each image, as `(count, batch, 1, 1)`."""
    return torch.rand(count, len(images), 1, 1, generator=generator)


def _turned(images: Images, centre: Tensor, angle: Tensor) -> tuple[Field, Field]:
    """Coordinates (-1..1 over the image) around a centre, turned by an angle, for each image."""
    size = images.shape[-1]
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    rows, columns = axis[:, None] - centre[1], axis - centre[0]
    cosine, sine = angle.cos(), angle.sin()
    return cosine * columns + sine * rows, cosine * rows - sine * columns


def _soft(radius: Field, softness: Tensor) -> Field:
    """About one below radius 1 and zero above, with a soft edge."""
    return ((1 - radius) / softness).sigmoid()


def _painted(images: Images, inside: Field, palette: Palette, generator: torch.Generator) -> Images:
    """A new colour for each image where `inside` is one."""
    spread = 0.3 + 1.2 * torch.rand(len(images), 1, generator=generator)
    colour = palette.mean + spread * palette.draw((len(images),), generator)
    return torch.lerp(images, colour[:, :, None, None].expand_as(images), inside[:, None])
