"""How a hospital's smears look: its dyes, its microscope and its camera.

A pixel follows the law of Beer and Lambert: light of the background's colour, dimmed by
`exp(-(azure density * azure + eosin density * eosin))` in each channel, after Ruifrok and
Johnston's model of stained tissue (Anal. Quant. Cytol. Histol. 23, 2001). Azure gives the blue
and purple of nuclei, eosin the pink of red cells and the orange of granules.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from envoi.errors import Problem, SettingsError
from envoi.seeding import numpy_generator

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stain:
    """One hospital's way to stain and photograph a blood smear.

    Attributes:
        azure: What the blue dye absorbs of red, green and blue light, at density 1.
        eosin: What the pink dye absorbs, at density 1.
        background: Light of an empty spot of the slide, red, green and blue in 0..1.
        contrast: Factor on all densities; below 1 is pale, above 1 is dark.
        blur_um: Standard deviation of the optics' blur, in micrometres.
        noise: Standard deviation of the camera's noise, in the 0..1 range.
        shading: Light lost from the bright to the dark edge of the field, 0..1.
    """

    azure: Colour
    eosin: Colour
    background: Colour
    contrast: float = 1.0
    blur_um: float = 0.25
    noise: float = 0.015
    shading: float = 0.05

    def __post_init__(self) -> None:
        for name in ("contrast", "blur_um", "noise", "shading"):
            if not 0 <= getattr(self, name) < 10:
                found = repr(getattr(self, name))
                raise SettingsError(
                    Problem("a value from 0 to below 10", found, f"stain, {name}", f"Mend {name}.")
                )


# Laboratories differ most in their ratio of the dyes, in the buffer (which turns nuclei from
# purple to blue) and in the white balance of the camera.
_LABORATORIES = (
    Stain(
        azure=(0.868, 0.889, 0.381),
        eosin=(0.173, 0.667, 0.498),
        background=(0.906, 0.878, 0.858),
        contrast=0.99,
        blur_um=0.32,
        noise=0.017,
        shading=0.07,
    ),
    Stain(
        azure=(0.905, 0.867, 0.351),
        eosin=(0.195, 0.630, 0.461),
        background=(0.884, 0.870, 0.873),
        contrast=0.98,
        blur_um=0.35,
        noise=0.019,
        shading=0.07,
    ),
    Stain(
        azure=(0.816, 0.904, 0.403),
        eosin=(0.158, 0.698, 0.520),
        background=(0.914, 0.870, 0.851),
        contrast=1.00,
        blur_um=0.31,
        noise=0.017,
        shading=0.08,
    ),
    Stain(
        azure=(0.845, 0.852, 0.396),
        eosin=(0.188, 0.615, 0.513),
        background=(0.899, 0.885, 0.836),
        contrast=0.94,
        blur_um=0.39,
        noise=0.017,
        shading=0.07,
    ),
    Stain(
        azure=(0.875, 0.927, 0.389),
        eosin=(0.188, 0.690, 0.468),
        background=(0.876, 0.848, 0.851),
        contrast=1.04,
        blur_um=0.33,
        noise=0.021,
        shading=0.09,
    ),
)


def hospital_stain(index: int, *, seed: int = 0) -> Stain:
    """The stain of hospital `index`; equal arguments give the same stain.

    The first five are typical laboratories, slightly varied; later ones are mixtures of two.

    Args:
        index: Number of the hospital, from 0.
        seed: Seed of the federation.

    Raises:
        SettingsError: `index` is negative.
    """
    if index < 0:
        raise SettingsError(
            Problem("an index from 0", str(index), "hospital", "Count the hospitals from 0.")
        )
    generator = numpy_generator(seed, "stain", index)
    table = np.array([_as_row(stain) for stain in _LABORATORIES])
    if index < len(table):
        row = table[index]
    else:
        first, second = generator.choice(len(table), size=2, replace=False)
        share = generator.uniform(0.3, 0.7)
        row = share * table[first] + (1 - share) * table[second]
    return _as_stain(row * generator.normal(1.0, 0.03, size=row.shape).clip(0.9, 1.1))


def _as_row(stain: Stain) -> NDArray[np.float64]:
    numbers = (stain.contrast, stain.blur_um, stain.noise, stain.shading)
    return np.array([*stain.azure, *stain.eosin, *stain.background, *numbers])


def _as_stain(row: Float[NDArray[np.float64], " number"]) -> Stain:
    values = [round(float(value), 4) for value in row]
    red, green, blue = (min(value, 1.0) for value in values[6:9])
    return Stain(
        azure=(values[0], values[1], values[2]),
        eosin=(values[3], values[4], values[5]),
        background=(red, green, blue),
        contrast=values[9],
        blur_um=values[10],
        noise=values[11],
        shading=values[12],
    )
