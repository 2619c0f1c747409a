"""Smooth random functions of a place, known by the length of their waves."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import ndimage

_LATTICE = 40
_SAMPLES_PER_WAVE = 6

Points = Float[NDArray[np.float32], "3 point"]
Values = Float[NDArray[np.float32], " point"]


@dataclass(frozen=True, slots=True, eq=False)
class SmoothNoise:
    """A function of mean 0 and deviation 1 whose waves are all about `wave_mm` long.

    Attributes:
        wave_mm: Length of a wave; the function repeats after 6.7 of them.
        lattice: Its values on a lattice.
        slope: How fast it changes there, per millimetre.
    """

    wave_mm: float
    lattice: Float[NDArray[np.float32], "n n n"]
    slope: Float[NDArray[np.float32], "n n n"]

    @classmethod
    def draw(cls, wave_mm: float, generator: np.random.Generator) -> "SmoothNoise":
        """White noise, of which a thin shell of frequencies is kept."""
        white = generator.standard_normal((_LATTICE,) * 3, np.float32)
        steps = np.fft.fftfreq(_LATTICE)
        half = np.fft.rfftfreq(_LATTICE)
        frequency = np.sqrt(
            steps[:, None, None] ** 2 + steps[:, None] ** 2 + half**2  # per lattice step
        )
        shell = np.exp(-(((frequency * _SAMPLES_PER_WAVE - 1) / 0.25) ** 2))
        waves = np.fft.irfftn(shell * np.fft.rfftn(white), s=white.shape, axes=(0, 1, 2))
        lattice = (waves / waves.std()).astype(np.float32)
        step_mm = wave_mm / _SAMPLES_PER_WAVE
        slopes = [
            (np.roll(lattice, -1, axis) - np.roll(lattice, 1, axis)) / (2 * step_mm)
            for axis in range(3)
        ]
        return cls(wave_mm, lattice, np.sqrt(sum(slope**2 for slope in slopes)))

    def at(self, points: Points) -> Values:
        """Its values at points in millimetres."""
        return self._sampled(self.lattice, points)

    def distance_to_zero(self, points: Points) -> Values:
        """Millimetres to the nearest surface on which the function is 0, to first order."""
        slope = self._sampled(self.slope, points)
        least = 1 / self.wave_mm
        return (np.abs(self.at(points)) / np.maximum(slope, least)).astype(np.float32)

    def _sampled(self, lattice: NDArray[np.float32], points: Points) -> Values:
        where = points * np.float32(_SAMPLES_PER_WAVE / self.wave_mm)
        values: Values = ndimage.map_coordinates(lattice, where, order=1, mode="grid-wrap")
        return values
