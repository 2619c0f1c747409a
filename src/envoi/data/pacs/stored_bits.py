"""Samples without what lies beside them in their words.

A sample of 12 bits lies in a word of 16. The four others are no part of the picture, and older
machines put overlay planes there: texts and marks drawn as bits (PS3.5, 8.1.2, retired). They
become what readers take them for: zeros, or above a negative sample ones.
"""

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset


@dataclass(frozen=True, slots=True)
class Sample:
    """How a sample lies in its word.

    Attributes:
        allocated: Bits of the word.
        stored: Bits of the sample.
        high: Its uppermost bit; the word's lowest is 0.
        is_signed: Whether that bit tells the sign.
    """

    allocated: int
    stored: int
    high: int
    is_signed: bool

    @property
    def is_whole(self) -> bool:
        """Whether the sample fills its word."""
        return self.stored == self.allocated

    @property
    def mask(self) -> int:
        """A word of ones where the sample lies."""
        return ((1 << self.stored) - 1) << (self.high - self.stored + 1)

    @property
    def above(self) -> int:
        """A word of ones above the sample."""
        return (1 << self.allocated) - (1 << (self.high + 1))


def sample_of(dataset: Dataset) -> Sample:
    """How the samples of an image lie in their words.

    Raises:
        ValueError: They cannot lie as it says.
    """
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    if stored == allocated:
        return Sample(allocated, stored, stored - 1, is_signed=False)
    sample = Sample(
        allocated, stored, int(dataset.HighBit), is_signed=int(dataset.PixelRepresentation) == 1
    )
    if allocated not in {8, 16, 32, 64} or not 0 < stored <= sample.high + 1 <= allocated:
        raise ValueError("samples that do not lie in their words")
    return sample


def without_unused_bits(pixels: bytes, sample: Sample, *, is_big_endian: bool) -> bytes:
    """Words of samples with nothing beside the samples.

    Memory: twice the pixels, or nothing if samples fill their words.

    Raises:
        ValueError: Samples of more than 16 bits in big endian, of which there are two readings.
    """
    if sample.is_whole:
        return pixels
    if is_big_endian and sample.allocated > 16:
        raise ValueError("long samples in big endian")
    changed = bytearray(pixels)
    words = np.frombuffer(changed, f"{'>' if is_big_endian else '<'}u{sample.allocated // 8}")
    words &= sample.mask
    if sample.is_signed:
        words[(words & (1 << sample.high)) != 0] |= sample.above
    return bytes(changed)
