"""Shades of grey: the light's colour estimated by a Minkowski mean, and taken out.

Finlayson and Trezzi, "Shades of Gray and Colour Constancy", 12th Color Imaging Conference, 2004,
pages 37-41. The paper finds p = 6 best; p = 1 is the grey-world assumption, and p without bound
is "the brightest is white".
"""

import numpy as np
from jaxtyping import Float, UInt8
from numpy.typing import NDArray

from envoi.errors import Problem, SettingsError


def illuminant(
    image: UInt8[NDArray[np.uint8], "row column 3"], power: float = 6.0
) -> Float[NDArray[np.float64], "3"]:
    """The light's colour, of length 1: (mean of f(x)^p over all pixels x)^(1/p) = k e.

    Args:
        image: Red, green, blue from 0 to 255.
        power: The paper's p, 1 or more.

    Raises:
        SettingsError: `power` is below 1.
    """
    if not power >= 1:
        remedy = "Choose 6, as the paper does."
        raise SettingsError(Problem("a power of 1 or more", f"{power}", "power", remedy))
    # Scaled to 0..1 first, so that no power is too large a number.
    mean = ((image / 255.0) ** power).mean(axis=(0, 1)) ** (1 / power)
    length = float(np.linalg.norm(mean))
    return mean / length if length else np.full(3, 3**-0.5)


def shades_of_grey(
    image: UInt8[NDArray[np.uint8], "row column 3"], power: float = 6.0
) -> UInt8[NDArray[np.uint8], "row column 3"]:
    """The image as it would look in white light: each channel divided by sqrt(3) e.

    White light is (1, 1, 1) / sqrt(3), under which nothing changes. A channel that is 0
    everywhere stays so. Values are rounded and end at 255; FLamby's code cuts fractions off and
    lets larger values wrap around.

    Args:
        image: Red, green, blue from 0 to 255.
        power: The paper's p.

    Raises:
        SettingsError: `power` is below 1.
    """
    light = illuminant(image, power)
    gain = 1 / (np.sqrt(3) * np.where(light > 0, light, 1))
    white: NDArray[np.uint8] = np.clip(np.round(image * gain), 0, 255).astype(np.uint8)
    return white
