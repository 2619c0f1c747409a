"""Domain values of the 3D half: volumes on a grid, and the subjects they belong to.

Axis order, everywhere: `(depth, height, width)` = (inferior to superior, posterior to anterior,
left to right), that is RAS+ with the axes of a NIfTI file reversed. `voxels[z]` is an axial slice.
This module loads no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from envoi.errors import DataError, Problem

Sex = Literal["female", "male"]
Voxels = Float[NDArray[np.float32], "depth height width"]


@dataclass(frozen=True, slots=True)
class Grid:
    """Where voxels lie.

    Attributes:
        shape: Voxels along depth, height and width.
        spacing_mm: Between voxels, in the same order.
        origin_mm: World coordinates (right, anterior, superior) of voxel (0, 0, 0).
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def is_like(self, other: "Grid") -> bool:
        """Whether shapes agree, and spacings to a micrometre (files hold them in fp32)."""
        apart = np.abs(np.subtract(self.spacing_mm, other.spacing_mm))
        return self.shape == other.shape and bool((apart < 1e-3).all())

    @property
    def affine(self) -> NDArray[np.float64]:
        """From indices (width, height, depth), a NIfTI file's order, to RAS+ millimetres."""
        depth, height, width = self.spacing_mm
        affine = np.diag([width, height, depth, 1.0])
        affine[:3, 3] = self.origin_mm
        return affine

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(np.prod(self.spacing_mm)) / 1000


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A skull-stripped brain: intensities from 0 to 1, exactly 0 outside of it.

    Attributes:
        voxels: `(depth, height, width)`, float32 in 0..1.
        grid: Where they lie.

    Raises:
        DataError: The shape is another than the grid's, or a voxel is not within 0..1.
    """

    voxels: Voxels
    grid: Grid

    def __post_init__(self) -> None:
        if self.voxels.shape != self.grid.shape:
            raise _refused(f"shape {self.grid.shape}", f"{self.voxels.shape}")
        low, high = float(np.min(self.voxels)), float(np.max(self.voxels))
        if not 0 <= low <= high <= 1:  # NaN compares false
            raise _refused("voxels from 0 to 1", f"{low:g} to {high:g}")

    def __repr__(self) -> str:
        depth, height, width = self.grid.shape
        spacing = " x ".join(f"{value:g}" for value in self.grid.spacing_mm)
        return f"Volume({depth} x {height} x {width}, {spacing} mm)"

    @property
    def filled_ml(self) -> float:
        """Millilitres that are above 0."""
        return int(np.count_nonzero(self.voxels)) * self.grid.voxel_ml

    def with_voxels(self, voxels: Voxels) -> "Volume":
        """Other voxels on the same grid."""
        return replace(self, voxels=voxels)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One person's volume, and what is known of the person.

    Attributes:
        name: A pseudonym, such as `sub-01`, or `sub-01_ses-2` for one scan of several.
        volume: Of the brain.
        age_years: None where it is not known.
        sex: None where it is not known.
    """

    name: str = field(repr=False)
    volume: Volume
    age_years: float | None = field(default=None, repr=False)
    sex: Sex | None = field(default=None, repr=False)

    @property
    def person(self) -> str:
        """What all scans of one person have in common: the name up to its first `_`."""
        return self.name.partition("_")[0]


def stacked(
    subjects: Sequence[Subject],
) -> Float[NDArray[np.float32], "subject depth height width"]:
    """All subjects' voxels in one array.

    Raises:
        DataError: There is no subject, or grids differ in shape or spacing.
    """
    check_alike(subjects)
    return np.stack([subject.volume.voxels for subject in subjects])


def check_alike(subjects: Sequence[Subject]) -> None:
    """Require subjects on one grid.

    Raises:
        DataError: There is no subject, or grids differ in shape or spacing.
    """
    grids = [subject.volume.grid for subject in subjects]
    others = sum(not grid.is_like(grids[0]) for grid in grids)
    if others or not grids:
        found = f"{others} of {len(grids)} on another grid than the first"
        raise _refused("subjects of one shape and spacing", found)


def normalised(voxels: Voxels) -> Voxels:
    """Intensities over the 99.5th percentile of the brain's, clipped to 0..1.

    The brain is what lies above 0; everything else becomes exactly 0.

    Raises:
        DataError: No voxel lies above 0.
    """
    brain = voxels[voxels > 0]
    if not brain.size:
        raise _refused("voxels above 0", "none")
    top = np.float32(np.percentile(brain, 99.5))
    scaled: Voxels = np.clip(voxels / top, 0, 1)
    return scaled


def _refused(expected: str, found: str) -> DataError:
    return DataError(Problem(expected, found, "volume", "Prepare all volumes the same way."))
