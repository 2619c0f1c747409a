"""Images of blood smears: drawn cells among red cells, stained and photographed.

Each image shows a field of `FIELD_UM` micrometres with one cell near its middle. Shapes are
signed distances (negative inside) turned into soft covers, so that edges are as fine as a pixel
allows at every size. Everything works on `(image, height, width)` arrays of float32.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri

from envoi.data.cells import HARMONICS, Cells
from envoi.data.stains import Stain

FIELD_UM = 20.0
RED_CELLS = 7
RED_CELL_RADIUS_UM = 3.7
_PIXELS_AT_ONCE = 1 << 20

Maps = Float32[NDArray[Any], "image height width"]
Pairs = Float32[NDArray[Any], "image 2"]


@dataclass(frozen=True, slots=True, eq=False)
class Smears:
    """What surrounds the cells: `(image,)` and `(image, red cell)` arrays.

    Attributes:
        red_cell_um: `(image, red cell, 2)`, x and y from the middle of the image.
        red_cell_radius_um: `(image, red cell)`; 0 where there is none.
        doses: `(image, 2)`, factors on the azure and eosin densities (about 1).
        tint: `(image, 3)`, factors on the light of each channel (about 1).
        light: `(image, 2)`, direction and strength of the light's gradient.
        out_of_focus: `(image,)`, share of a blurred image in the final one, 0..1.
    """

    red_cell_um: NDArray[Any]
    red_cell_radius_um: NDArray[Any]
    doses: Pairs
    tint: NDArray[Any]
    light: Pairs
    out_of_focus: NDArray[Any]

    def part(self, chosen: slice) -> "Smears":
        """The `chosen` ones only."""
        return Smears(*(getattr(self, field.name)[chosen] for field in fields(self)))


def draw_smears(
    cells: Cells, generator: np.random.Generator, *, slides: NDArray[np.int64]
) -> Smears:
    """Surroundings for `cells`: red cells that leave room for them, light and focus.

    Args:
        cells: The cells in the middle.
        generator: Source of randomness.
        slides: `(cell,)`, code of the slide a cell lies on; slides differ a little in their
            dyes and light.
    """
    count = len(cells)
    around = generator.uniform(0, 2 * np.pi, (count, RED_CELLS))
    room = cells.radius_um[:, None] + RED_CELL_RADIUS_UM
    distance = room + generator.uniform(-0.6, 9.0, (count, RED_CELLS))
    place = np.stack([np.cos(around), np.sin(around)], axis=-1) * distance[..., None]
    radius = RED_CELL_RADIUS_UM * generator.normal(1.0, 0.07, (count, RED_CELLS))
    there = generator.random((count, RED_CELLS)) < generator.uniform(0.3, 1.0, (count, 1))
    _, slide = np.unique(slides, return_inverse=True)
    of_slide = generator.normal(0.0, (0.08, 0.08, 0.02, 0.02, 0.02), (slide.max(initial=0) + 1, 5))
    of_image = generator.normal(0.0, (0.06, 0.06, 0.01, 0.01, 0.01), (count, 5))
    factors = np.exp(of_slide[slide] + of_image).astype(np.float32)
    return Smears(
        red_cell_um=(cells.centre_um[:, None] + place).astype(np.float32),
        red_cell_radius_um=np.where(there, radius, 0.0).astype(np.float32),
        doses=factors[:, :2],
        tint=factors[:, 2:],
        light=generator.uniform(-1, 1, (count, 2)).astype(np.float32),
        out_of_focus=generator.beta(1.0, 2.0, count).astype(np.float32),
    )


def photograph(
    cells: Cells, smears: Smears, *, stain: Stain, size_px: int, generator: np.random.Generator
) -> UInt8[NDArray[np.uint8], "image 3 size size"]:
    """Render, stain and photograph; `generator` draws the texture and the camera's noise.

    Holds about 20 arrays of `_PIXELS_AT_ONCE` float32 beside the result.
    """
    images = np.empty((len(cells), 3, size_px, size_px), np.uint8)
    step = max(1, _PIXELS_AT_ONCE // size_px**2)
    for start in range(0, len(cells), step):
        part = slice(start, start + step)
        batch = cells.part(part)
        azure, eosin = _densities(batch, smears.part(part), size_px, generator)
        images[part] = _develop(azure, eosin, smears.part(part), stain, generator)
    return images


def _densities(
    cells: Cells, smears: Smears, size_px: int, generator: np.random.Generator
) -> tuple[Maps, Maps]:
    """Azure and eosin densities of the whole field."""
    x, y = _grid(size_px)
    pixel_um = FIELD_UM / size_px
    soft_um = 0.3 * pixel_um + 0.08
    red = _red_cells(smears, x, y, soft_um)
    x = x - cells.centre_um[:, 0, None, None]
    y = y - cells.centre_um[:, 1, None, None]
    rim_um = _rim(cells, x, y)
    body = _cover(rim_um, soft_um)
    nucleus = _cover(np.maximum(_nucleus(cells, x, y), rim_um + 0.2), soft_um)
    chromatin = 1 + cells.clumps[:, None, None] * _texture(rim_um.shape, 0.7 / pixel_um, generator)
    grains = _granules(cells, rim_um.shape, pixel_um, generator)
    grains = grains * (1 - nucleus * (1 - cells.over_nucleus[:, None, None]))
    # Cytoplasm is seen edge-on, and so darker, where the membrane turns.
    flesh = (1 - nucleus) * (0.9 + 0.35 * np.exp(-((rim_um / 0.8) ** 2)))

    def whole(dye: int, red_density: float) -> Maps:
        cytoplasm, grain = cells.cytoplasm[:, dye], cells.granules[:, dye]
        inside = cytoplasm[:, None, None] * flesh + grain[:, None, None] * grains
        inside += cells.nucleus[:, dye, None, None] * nucleus * chromatin
        density: Maps = inside * body + red_density * red * (1 - body)
        return density

    return whole(0, 0.08), whole(1, 0.44)


def _develop(
    azure: Maps, eosin: Maps, smears: Smears, stain: Stain, generator: np.random.Generator
) -> UInt8[NDArray[np.uint8], "image 3 size size"]:
    """Densities to 8-bit pixels: light, dyes, optics, camera."""
    size_px = azure.shape[-1]
    x, y = _grid(size_px)
    slope = smears.light[:, 0, None, None] * x + smears.light[:, 1, None, None] * y
    light = 1 - stain.shading * (0.5 + slope / FIELD_UM).clip(0, 1)
    azure = azure * (stain.contrast * smears.doses[:, 0, None, None])
    eosin = eosin * (stain.contrast * smears.doses[:, 1, None, None])
    image = np.stack(
        [
            white * light * np.exp(-(blue * azure + pink * eosin))
            for white, blue, pink in zip(stain.background, stain.azure, stain.eosin, strict=True)
        ],
        axis=1,
    )
    image *= smears.tint[:, :, None, None]
    sharp = _blurred(image, stain.blur_um * size_px / FIELD_UM)
    soft = _blurred(sharp, 0.8 * size_px / FIELD_UM)
    share = smears.out_of_focus[:, None, None, None]
    image = sharp + share * (soft - sharp)
    image += stain.noise * generator.standard_normal(image.shape, dtype=np.float32)
    pixels: NDArray[np.uint8] = (image.clip(0, 1) * 255).round().astype(np.uint8)
    return pixels


def _grid(size_px: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Places x `(1, width)` and y `(height, 1)` of pixel centres, from the middle."""
    axis = ((np.arange(size_px, dtype=np.float32) + 0.5) / size_px - 0.5) * FIELD_UM
    return axis[None, :], axis[:, None]


def _cover(distance_um: Maps, soft_um: float) -> Maps:
    """Share of a pixel inside a shape, from the signed distance to its edge."""
    share: Maps = 1 / (1 + np.exp((distance_um / soft_um).clip(-30, 30)))
    return share


def _rim(cells: Cells, x: NDArray[Any], y: NDArray[Any]) -> Maps:
    """Signed distance to the outline of the cell, roughly; places as seen from its middle."""
    angle = np.arctan2(y, x)
    wave = np.zeros_like(angle)
    for number, harmonic in enumerate(HARMONICS):
        sine, cosine = cells.outline[:, number, :, None, None].swapaxes(0, 1)
        wave += sine * np.sin(harmonic * angle) + cosine * np.cos(harmonic * angle)
    distance: Maps = np.hypot(x, y) - cells.radius_um[:, None, None] * (1 + wave)
    return distance


def _nucleus(cells: Cells, x: NDArray[Any], y: NDArray[Any]) -> Maps:
    """Signed distance to the smooth union of the nucleus's discs; far away without a nucleus."""
    bridge_um = 0.3
    near = np.full(np.broadcast_shapes(x.shape, y.shape), 1e-30, np.float32)
    for lobe in range(cells.lobe_um.shape[1]):
        radius = cells.lobe_radius_um[:, lobe, None, None]
        place = cells.lobe_um[:, lobe, :, None, None]
        distance = np.hypot(x - place[:, 0], y - place[:, 1]) - radius
        near += np.where(radius > 0, np.exp((-distance / bridge_um).clip(-60, 60)), 0.0)
    return -bridge_um * np.log(near)


def _red_cells(smears: Smears, x: NDArray[Any], y: NDArray[Any], soft_um: float) -> Maps:
    """Thickness of the red cells: 1 at their rim, less in their pale middle."""
    red = np.zeros((len(smears.doses), y.shape[0], x.shape[1]), np.float32)
    for number in range(smears.red_cell_radius_um.shape[1]):
        radius = smears.red_cell_radius_um[:, number, None, None]
        place = smears.red_cell_um[:, number, :, None, None]
        distance = np.hypot(x - place[:, 0], y - place[:, 1])
        pallor = 0.45 + 0.55 * ((distance / RED_CELL_RADIUS_UM) ** 2).clip(0, 1)
        disc = np.where(radius > 0, _cover(distance - radius, soft_um) * pallor, 0.0)
        np.maximum(red, disc, out=red)
    return red


def _granules(
    cells: Cells, shape: tuple[int, ...], pixel_um: float, generator: np.random.Generator
) -> Maps:
    """Share of each pixel that granules cover: smooth noise above a threshold."""
    coarse = cells.coarse[:, None, None]
    grains = coarse * _texture(shape, 0.45 / pixel_um, generator)
    grains += (1 - coarse) * _texture(shape, 0.22 / pixel_um, generator)
    grains /= np.hypot(coarse, 1 - coarse)
    threshold = ndtri(1 - cells.granule_cover.clip(1e-3, 1))[:, None, None]
    return _cover(threshold.astype(np.float32) - grains, 0.3)


def _texture(shape: tuple[int, ...], grain_px: float, generator: np.random.Generator) -> Maps:
    """Smooth noise of mean 0 and deviation 1, its grains about `grain_px` wide."""
    noise = _blurred(generator.standard_normal(shape, dtype=np.float32), grain_px)
    standard: Maps = noise / noise.std()
    return standard


def _blurred(images: NDArray[Any], sigma_px: float) -> NDArray[Any]:
    """Gaussian blur of the last two axes."""
    blurred: NDArray[Any] = gaussian_filter(
        images, sigma_px, axes=(-2, -1), mode="nearest", truncate=3.0
    )
    return blurred
