"""Made brains for demonstrations and tests, with ventricles of a known volume.

Two hemispheres with a folded cortex around white matter, ventricles, deep nuclei, cerebellum and
brain stem (`envoi.mri.phantoms.anatomy`), in the contrast of a T1 scan, with partial volume, a
bias field and noise. No real image is involved, and nothing here is fit to learn medicine from.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envoi.errors import Problem, SettingsError
from envoi.mri.phantoms import anatomy
from envoi.mri.phantoms.smooth_noise import Points, SmoothNoise
from envoi.mri.phantoms.tissues import Labels, blocked, grown_tissues
from envoi.seeding import numpy_generator
from envoi.volumes import Grid, Sex, Subject, Volume, normalised

SHAPE, SPACING_MM = (48, 56, 48), 4.0
AGES_YEARS = (20.0, 85.0)

_FIELD_MM = (156, 192, 156)  # what the largest head needs
_FINE_MM = 2.0
_VENTRICLES_ML = (4.0, 120.0)
_CENTRE_MM = np.array([[0], [0], [-5]], np.float32)  # of the box around an average head


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A made brain and the truth about it.

    Attributes:
        subject: What a reader of files would find.
        labels: A `Tissue` for each voxel.
        ventricles_ml: Volume of lateral and third ventricles, the finest grid counted.
    """

    subject: Subject
    labels: Labels
    ventricles_ml: float


def usual_ventricles_ml(age_years: float) -> float:
    """Volume of the ventricles of an average phantom: 14 ml at 20 years, 47 ml at 80."""
    return 14 * float(np.exp((age_years - 20) / 50))


def brain_phantom(
    name: str,
    *,
    age_years: float,
    sex: Sex,
    generator: np.random.Generator,
    ventricles_ml: float | None = None,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: float = SPACING_MM,
) -> Phantom:
    """A brain; its sulci widen with age, and men's heads are a little larger.

    Args:
        name: Of the subject.
        age_years: Of the subject.
        sex: Of the subject.
        generator: Source of all randomness.
        ventricles_ml: 4 to 120; by default about what is usual at this age.
        shape: Of the volume: depth, height, width.
        spacing_mm: Of the volume. Its field of view must hold a head: 156 x 192 x 156 mm.

    Raises:
        SettingsError: The field of view is too small, or a number is out of its range.
    """
    chance = float(np.exp(0.2 * np.clip(generator.standard_normal(), -2, 2)))
    wanted_ml = usual_ventricles_ml(age_years) * chance if ventricles_ml is None else ventricles_ml
    _check(shape, spacing_mm, wanted_ml)
    half = [-(size - 1) / 2 * spacing_mm for size in shape]
    grid = Grid(shape, (spacing_mm,) * 3, (half[2], half[1], half[0]))
    finer = int(np.ceil(spacing_mm / _FINE_MM))
    points, inside = _points(grid, finer, sex, generator)
    depths = anatomy.depths(points)
    in_head = depths.head > 0
    inside[inside] = in_head
    points, depths = points[:, in_head], anatomy.Depths(*(depth[in_head] for depth in depths))
    fine_mm = spacing_mm / finer
    tissues = grown_tissues(points, depths, age_years, wanted_ml, fine_mm, generator)
    labels, brightness = blocked(tissues, inside, finer)
    scanned = _scanned(brightness, grid, generator)
    subject = Subject(name, Volume(normalised(scanned), grid), age_years, sex)
    return Phantom(subject, np.where(scanned > 0, labels, 0), tissues.ventricles_ml)


def draw_phantoms(
    subjects: int,
    seed: int,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: float = SPACING_MM,
) -> tuple[Phantom, ...]:
    """Phantoms `sub-01`, `sub-02`, ... of both sexes and any adult age; the truth included.

    A phantom depends on the seed and its number alone, not on how many there are.

    Raises:
        SettingsError: There would be none, or the field of view is too small.
    """
    if subjects < 1:
        raise SettingsError(Problem("1 or more", f"{subjects}", "subjects", "Ask for some."))
    numbers = range(1, subjects + 1)
    return tuple(draw_phantom(number, seed, shape, spacing_mm) for number in numbers)


def draw_phantom(
    number: int,
    seed: int,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: float = SPACING_MM,
) -> Phantom:
    """Phantom `sub-<number>` of a seed.

    Raises:
        SettingsError: The field of view is too small.
    """
    generator = numpy_generator(seed, "phantom", number)
    age_years = round(float(generator.uniform(*AGES_YEARS)), 1)
    sex: Sex = "female" if generator.random() < 0.5 else "male"
    return brain_phantom(
        phantom_name(number),
        age_years=age_years,
        sex=sex,
        generator=generator,
        shape=shape,
        spacing_mm=spacing_mm,
    )


def phantom_name(number: int) -> str:
    """`sub-07`: what a subject of that number is called."""
    return f"sub-{number:02}"


def phantom_population(
    subjects: int,
    seed: int,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: float = SPACING_MM,
) -> tuple[Subject, ...]:
    """The subjects of `draw_phantoms`, as a folder of scans would give them."""
    return tuple(made.subject for made in draw_phantoms(subjects, seed, shape, spacing_mm))


def _points(
    grid: Grid, finer: int, sex: Sex, generator: np.random.Generator
) -> tuple[Points, NDArray[np.bool_]]:
    """Places of the fine voxels that may be in the head, in an average head, and which they are.

    Heads differ in size, in their proportions and by a smooth warp.
    """
    scale = (1.0 if sex == "male" else 0.95) * np.exp(
        0.02 * np.clip(generator.standard_normal(4), -1.5, 1.5)
    )
    stretch = np.minimum(scale[0] * scale[1:] ** 0.7, 1.04)
    axes = [
        (np.arange(size * finer, dtype=np.float32) - (size * finer - 1) / 2) * (spacing / finer)
        for size, spacing in zip(grid.shape, grid.spacing_mm, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    inside = (x / 79) ** 2 + (y / 99) ** 2 + (z / 82) ** 2 < 1
    depth, height, width = np.nonzero(inside)
    points = np.stack([axes[2][width], axes[1][height], axes[0][depth]])
    points = points / stretch.astype(np.float32)[:, None] + _CENTRE_MM
    warps = [SmoothNoise.draw(110, generator).at(points) for _ in range(3)]
    return (points + 2 * np.stack(warps)).astype(np.float32), inside


def _scanned(
    brightness: NDArray[np.float32], grid: Grid, generator: np.random.Generator
) -> NDArray[np.float32]:
    """A bias field and noise; in the head above 0, outside exactly 0."""
    head = np.nonzero(brightness)
    points = np.stack(head).astype(np.float32) * np.float32(grid.spacing_mm[0])
    bias = np.exp(0.06 * SmoothNoise.draw(160, generator).at(points))
    noise = 0.015 * generator.standard_normal(points.shape[1])
    scanned = np.zeros_like(brightness)
    scanned[head] = np.maximum(brightness[head] * bias + noise, 0.01)
    return scanned


def _check(shape: tuple[int, int, int], spacing_mm: float, ventricles_ml: float) -> None:
    field = tuple(size * spacing_mm for size in shape)
    low, high = _VENTRICLES_ML
    problems = []
    if not all(size >= least for size, least in zip(field, _FIELD_MM, strict=True)):
        expected = f"a field of view of at least {' x '.join(map(str, _FIELD_MM))} mm"
        found = " x ".join(f"{size:g}" for size in field)
        remedy = "Choose more or larger voxels."
        problems.append(Problem(expected, found, "shape and spacing_mm", remedy))
    if not low <= ventricles_ml <= high:
        expected, found = f"{low:g} to {high:g} ml", f"{ventricles_ml:g}"
        problems.append(Problem(expected, found, "ventricles_ml", "Choose a volume within."))
    if problems:
        raise SettingsError(*problems)
