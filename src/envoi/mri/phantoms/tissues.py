"""What a phantom's brain is made of at each place, and how bright that is in a T1 scan."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from envoi.mri.phantoms import anatomy
from envoi.mri.phantoms.smooth_noise import Points, SmoothNoise, Values

_CORTEX_MM = 3.6


class Tissue(IntEnum):
    """Labels of a phantom's voxels."""

    OUTSIDE = 0
    FLUID = 1
    GREY = 2
    WHITE = 3
    DEEP_GREY = 4
    VENTRICLES = 5
    CEREBELLUM = 6
    STEM = 7


# Intensities of a T1 scan.
_FLUID, _GREY, _WHITE = 0.14, 0.50, 0.82
_NUCLEI, _BRIDGE, _STEM = 0.64, 0.92, 0.86

Labels = UInt8[NDArray[np.uint8], "depth height width"]


@dataclass(frozen=True, slots=True)
class Tissues:
    """Points in a head: what is there, and how bright it is."""

    labels: NDArray[np.uint8]
    brightness: Values
    ventricles_ml: float


def grown_tissues(
    points: Points,
    depths: anatomy.Depths,
    age_years: float,
    ventricles_ml: float,
    fine_mm: float,
    generator: np.random.Generator,
) -> Tissues:
    """Part after part, each painted over what was there; edges are as soft as a voxel is wide."""
    gap_mm = 0.7 + 0.016 * max(0.0, age_years - 20)
    folds, floor = (SmoothNoise.draw(wave, generator) for wave in (26, 60))
    # The part that a point lies deeper in; the crest between two is fluid.
    crest = depths.cerebrum - depths.cerebellum
    folded = anatomy.below_folds(points, np.minimum(depths.cerebrum, crest), folds, floor)
    brightness, labels = _matter(folded, gap_mm, _CORTEX_MM)
    leaves = anatomy.below_folia(points, np.minimum(depths.cerebellum, -crest))
    painted = _matter(leaves, 0.6, 4.0)
    is_cerebellum = crest < 0
    brightness = np.where(is_cerebellum, painted[0], brightness)
    labels = np.where(is_cerebellum, Tissue.CEREBELLUM, labels).astype(np.uint8)

    def paint(depth: Values, value: float, tissue: Tissue) -> None:
        nonlocal brightness
        share = np.clip(depth / fine_mm + 0.5, 0, 1)
        brightness = brightness + share * (np.float32(value) - brightness)
        labels[depth > 0] = tissue

    paint(anatomy.in_callosum(points), _BRIDGE, Tissue.WHITE)
    paint(anatomy.in_deep_grey(points), _NUCLEI, Tissue.DEEP_GREY)
    paint(depths.stem, _STEM, Tissue.STEM)
    paint(anatomy.in_fourth_ventricle(points), _FLUID, Tissue.FLUID)
    lopsided = 0.5 * float(np.clip(generator.standard_normal(), -2, 2))
    ventricles = anatomy.in_ventricles(points, lopsided)
    count = round(ventricles_ml * 1000 / fine_mm**3)
    # The threshold that exactly so many points exceed.
    edge = np.partition(ventricles, -count - 1)[-count - 1]
    paint(ventricles - edge, _FLUID, Tissue.VENTRICLES)
    filled_ml = np.count_nonzero(labels == Tissue.VENTRICLES) * fine_mm**3 / 1000
    return Tissues(labels, brightness.astype(np.float32), float(filled_ml))


def _matter(depth: Values, gap_mm: float, cortex_mm: float) -> tuple[Values, NDArray[np.uint8]]:
    """Fluid, grey and white matter by the depth below a folded surface."""
    places = [gap_mm - 1, gap_mm + 1, gap_mm + cortex_mm - 1, gap_mm + cortex_mm + 1]
    brightness = np.interp(depth, places, [_FLUID, _GREY, _GREY, _WHITE]).astype(np.float32)
    steps = np.digitize(depth, [gap_mm, gap_mm + cortex_mm])
    kinds = np.array([Tissue.FLUID, Tissue.GREY, Tissue.WHITE], np.uint8)
    return brightness, kinds[steps]


def blocked(
    tissues: Tissues, inside: NDArray[np.bool_], finer: int
) -> tuple[Labels, NDArray[np.float32]]:
    """Blocks of fine voxels as one: the commonest tissue, and the mean brightness in the head."""
    filled = _blocks(np.ones_like(tissues.brightness), inside, finer)
    total = _blocks(tissues.brightness, inside, finer)
    brightness = np.divide(total, filled, out=np.zeros_like(total), where=filled >= 0.5)
    shares = np.stack([_blocks(tissues.labels == kind, inside, finer) for kind in Tissue])
    ventricles = shares[Tissue.VENTRICLES].copy()
    shares[[Tissue.OUTSIDE, Tissue.VENTRICLES]] = -1
    labels = shares.argmax(axis=0).astype(np.uint8)
    # Thin horns fill few voxels by half: the fullest ones, as many as the volume asks for.
    fullest = np.argsort(ventricles, axis=None, kind="stable")[::-1][: round(ventricles.sum())]
    labels.reshape(-1)[fullest] = Tissue.VENTRICLES
    return labels, brightness


def _blocks(
    values: NDArray[np.generic], inside: NDArray[np.bool_], finer: int
) -> NDArray[np.float32]:
    """Means of blocks of fine voxels, of which those not `inside` are 0."""
    fine = np.zeros(inside.shape, np.float32)
    fine[inside] = values
    depth, height, width = (size // finer for size in inside.shape)
    means: NDArray[np.float32] = fine.reshape(depth, finer, height, finer, width, finer).mean(
        axis=(1, 3, 5)
    )
    return means
