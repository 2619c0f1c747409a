"""What blood cells look like: typical morphology of eight kinds, and the draw of single cells.

Lengths are micrometres, angles radians; densities are the optical densities of the two dyes
(see `envoi.data.stains`). A nucleus of every kind is a chain of discs along an arc: one disc is
round, overlapping ones are a kidney or a band, separate ones are the lobes of a granulocyte.

Shapes and colours follow what textbooks of haematology say in words; they are phantoms for
demonstrations and tests, not data to learn medicine from.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

MOST_LOBES = 5
HARMONICS = (2, 3, 4)

Spread = tuple[float, float]
Dyes = tuple[float, float]
Array = Float32[NDArray[Any], "..."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Morphology:
    """One kind of cell; a `Spread` is a mean and a standard deviation.

    Attributes:
        diameter_um: Of the whole cell.
        irregular: Deviation of the outline from a circle, relative to the radius.
        lobes: Probability of a nucleus of 1, 2, ... discs; empty when there is no nucleus.
        lobe_radius: Radius of a disc, relative to the cell's radius.
        arc_radius: Radius of the arc of discs, relative to the cell's radius.
        arc_step: Angle between neighbouring discs on the arc.
        off_centre: Distance of the nucleus from the cell's centre, relative to its radius.
        nucleus: Azure and eosin density of the nucleus.
        clumps: Unevenness of the chromatin.
        cytoplasm: Azure and eosin density of the cytoplasm.
        granules: Azure and eosin density of the granules.
        granule_cover: Part of the cytoplasm that granules cover.
        coarse: Whether the granules are large (0: dust, 1: grains).
        over_nucleus: How much the granules hide the nucleus, 0..1.
    """

    diameter_um: Spread
    irregular: float = 0.03
    lobes: tuple[float, ...] = ()
    lobe_radius: Spread = (0.0, 0.0)
    arc_radius: Spread = (0.0, 0.0)
    arc_step: Spread = (0.0, 0.0)
    off_centre: Spread = (0.0, 0.0)
    nucleus: Dyes = (0.0, 0.0)
    clumps: float = 0.0
    cytoplasm: Dyes
    granules: Dyes = (0.0, 0.0)
    granule_cover: Spread = (0.0, 0.0)
    coarse: float = 0.0
    over_nucleus: float = 0.0


MORPHOLOGIES: dict[str, Morphology] = {
    "basophil": Morphology(
        diameter_um=(12.4, 1.512),
        lobes=(0.0, 0.6, 0.4),
        lobe_radius=(0.40, 0.084),
        arc_radius=(0.36, 0.134),
        arc_step=(1.6, 0.588),
        off_centre=(0.06, 0.07),
        nucleus=(0.70, 0.40),
        clumps=0.15,
        cytoplasm=(0.14, 0.16),
        granules=(1.20, 0.60),
        granule_cover=(0.36, 0.134),
        coarse=1.0,
        over_nucleus=0.8,
    ),
    "eosinophil": Morphology(
        diameter_um=(13.4, 1.68),
        lobes=(0.0, 0.85, 0.15),
        lobe_radius=(0.37, 0.067),
        arc_radius=(0.45, 0.101),
        arc_step=(1.75, 0.504),
        off_centre=(0.12, 0.084),
        nucleus=(0.95, 0.60),
        clumps=0.12,
        cytoplasm=(0.05, 0.42),
        granules=(0.05, 0.95),
        granule_cover=(0.65, 0.168),
        coarse=0.9,
        over_nucleus=0.1,
    ),
    "erythroblast": Morphology(
        diameter_um=(9.0, 1.344),
        irregular=0.02,
        lobes=(1.0,),
        lobe_radius=(0.54, 0.101),
        off_centre=(0.10, 0.098),
        nucleus=(1.40, 0.70),
        clumps=0.10,
        cytoplasm=(0.24, 0.40),
        granules=(0.2, 0.1),
        granule_cover=(0.05, 0.084),
    ),
    "immature granulocyte": Morphology(
        diameter_um=(15.6, 2.016),
        irregular=0.035,
        lobes=(0.65, 0.15, 0.20),
        lobe_radius=(0.48, 0.084),
        arc_radius=(0.22, 0.151),
        arc_step=(0.75, 0.42),
        off_centre=(0.18, 0.098),
        nucleus=(0.90, 0.55),
        clumps=0.20,
        cytoplasm=(0.18, 0.28),
        granules=(0.60, 0.45),
        granule_cover=(0.32, 0.168),
        coarse=0.4,
        over_nucleus=0.3,
    ),
    "lymphocyte": Morphology(
        diameter_um=(10.6, 1.848),
        irregular=0.035,
        lobes=(1.0,),
        lobe_radius=(0.82, 0.084),
        off_centre=(0.08, 0.084),
        nucleus=(1.10, 0.52),
        clumps=0.22,
        cytoplasm=(0.42, 0.02),
        granules=(0.3, 0.2),
        granule_cover=(0.04, 0.084),
    ),
    "monocyte": Morphology(
        diameter_um=(16.6, 2.184),
        irregular=0.08,
        lobes=(0.05, 0.15, 0.80),
        lobe_radius=(0.43, 0.084),
        arc_radius=(0.36, 0.101),
        arc_step=(0.95, 0.37),
        off_centre=(0.10, 0.084),
        nucleus=(0.72, 0.40),
        clumps=0.25,
        cytoplasm=(0.32, 0.08),
        granules=(0.15, 0.12),
        granule_cover=(0.12, 0.101),
    ),
    "neutrophil": Morphology(
        diameter_um=(13.2, 2.016),
        lobes=(0.0, 0.05, 0.42, 0.38, 0.15),
        lobe_radius=(0.28, 0.059),
        arc_radius=(0.44, 0.101),
        arc_step=(1.25, 0.336),
        off_centre=(0.08, 0.084),
        nucleus=(1.10, 0.60),
        clumps=0.15,
        cytoplasm=(0.06, 0.16),
        granules=(0.08, 0.16),
        granule_cover=(0.40, 0.252),
        coarse=0.1,
        over_nucleus=0.1,
    ),
    "platelet": Morphology(
        diameter_um=(4.4, 1.512),
        irregular=0.08,
        cytoplasm=(0.30, 0.22),
        granules=(0.60, 0.40),
        granule_cover=(0.45, 0.336),
        coarse=0.3,
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Single cells, drawn: everything that the rendering needs but the fine texture.

    Attributes:
        centre_um: `(cell, 2)`, x and y from the middle of the image.
        radius_um: `(cell,)`.
        outline: `(cell, harmonic, 2)`, relative sine and cosine amplitudes of the outline.
        lobe_um: `(cell, lobe, 2)`, x and y from the cell's centre.
        lobe_radius_um: `(cell, lobe)`; 0 where there is no such lobe.
        nucleus, cytoplasm, granules: `(cell, 2)`, azure and eosin densities.
        clumps, granule_cover, coarse, over_nucleus: `(cell,)`, as in `Morphology`.
    """

    centre_um: Array
    radius_um: Array
    outline: Array
    lobe_um: Array
    lobe_radius_um: Array
    nucleus: Array
    cytoplasm: Array
    granules: Array
    clumps: Array
    granule_cover: Array
    coarse: Array
    over_nucleus: Array

    def __len__(self) -> int:
        return len(self.radius_um)

    def part(self, chosen: slice) -> "Cells":
        """The `chosen` ones only."""
        return Cells(*(getattr(self, field.name)[chosen] for field in fields(self)))


def draw_cells(labels: NDArray[np.int64], generator: np.random.Generator) -> Cells:
    """One cell for each of `labels`, which index `MORPHOLOGIES` in its order."""
    count = len(labels)
    radius_um = _drawn("diameter_um", labels, generator).clip(2.0) / 2
    lobe, lobe_radius = _draw_lobes(labels, generator)
    # Higher harmonics are weaker, or cells would be stars.
    strength = np.array([2 / harmonic for harmonic in HARMONICS], np.float32)[:, None]
    waves = strength * _normal(generator, count, len(HARMONICS), 2)
    outline = _column("irregular", labels)[:, None, None] * waves
    return Cells(
        centre_um=_normal(generator, count, 2) * 0.8,
        radius_um=radius_um,
        outline=outline,
        lobe_um=lobe * radius_um[:, None, None],
        lobe_radius_um=lobe_radius * radius_um[:, None],
        nucleus=_dyed("nucleus", labels, generator),
        cytoplasm=_dyed("cytoplasm", labels, generator),
        granules=_dyed("granules", labels, generator),
        clumps=_column("clumps", labels),
        granule_cover=_drawn("granule_cover", labels, generator).clip(0.0, 0.9),
        coarse=_column("coarse", labels),
        over_nucleus=_column("over_nucleus", labels),
    )


def _draw_lobes(labels: NDArray[np.int64], generator: np.random.Generator) -> tuple[Array, Array]:
    """Places `(cell, lobe, 2)` and radii `(cell, lobe)` of the discs, in units of the cell."""
    count = len(labels)
    odds = np.zeros((len(MORPHOLOGIES), MOST_LOBES), np.float32)
    for row, kind in zip(odds, MORPHOLOGIES.values(), strict=True):
        row[: len(kind.lobes)] = kind.lobes
    chances = odds[labels].cumsum(axis=1)
    lobes = (generator.random((count, 1), np.float32) * chances[:, -1:] >= chances).sum(axis=1) + 1
    number = np.arange(MOST_LOBES)
    present = (number < lobes[:, None]) & (chances[:, -1:] > 0)

    step = _drawn("arc_step", labels, generator)[:, None]
    turn = generator.uniform(0, 2 * np.pi, (count, 1))
    angle = turn + (number - (lobes[:, None] - 1) / 2) * step
    angle += 0.15 * _normal(generator, count, MOST_LOBES)
    arc = np.where(lobes > 1, _drawn("arc_radius", labels, generator), 0.0)[:, None]
    away = generator.uniform(0, 2 * np.pi, count)
    shift = _drawn("off_centre", labels, generator)[:, None] * _direction(away)
    # The chain turns about its own middle, so that a kidney lies in the cell, not at its edge.
    chain = arc[..., None] * _direction(angle)
    middle = (chain * present[..., None]).sum(1) / np.maximum(present.sum(1), 1)[:, None]
    place = chain - 0.5 * middle[:, None] + shift[:, None]
    size = _drawn("lobe_radius", labels, generator)[:, None]
    # A lone disc holds as much chromatin as the chain would have.
    size = size + np.where(lobes == 1, 0.6 * _column("arc_radius", labels)[:, 0], 0.0)[:, None]
    size = size * np.exp(0.12 * _normal(generator, count, MOST_LOBES))
    return place.astype(np.float32), np.where(present, size, 0.0).astype(np.float32)


def _column(name: str, labels: NDArray[np.int64]) -> Array:
    """The field `name` of each cell's kind."""
    values = [getattr(kind, name) for kind in MORPHOLOGIES.values()]
    return np.array(values, np.float32)[labels]


def _drawn(name: str, labels: NDArray[np.int64], generator: np.random.Generator) -> Array:
    """A value of the `Spread` called `name` for each cell, never negative."""
    mean, deviation = _column(name, labels).T
    drawn: Array = mean + deviation * _normal(generator, len(labels)).clip(-2.5, 2.5)
    return drawn.clip(0.0)


def _dyed(name: str, labels: NDArray[np.int64], generator: np.random.Generator) -> Array:
    """Densities of the `Dyes` called `name` for each cell, log-normally varied."""
    factors: Array = np.exp(0.25 * _normal(generator, len(labels), 2))
    return _column(name, labels) * factors


def _direction(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _normal(generator: np.random.Generator, *shape: int) -> Array:
    return generator.standard_normal(shape, dtype=np.float32)
