"""Domain values that every room shares: image sets and their specification.

Arrays are NumPy, images are `(image, channel, height, width)`; this module loads no torch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envoi.errors import DataError, Problem


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What one image looks like, and how it becomes the input of a network.

    A stored pixel p becomes `((p - low) / (high - low) - mean[c]) / deviation[c]`.

    Attributes:
        channels: 1 (grey) or 3 (red, green, blue).
        size_px: Height and width in pixels.
        value_range: Lowest and highest stored pixel value.
        mean: Per-channel mean, in units of the 0..1 range.
        deviation: Per-channel standard deviation, in units of the 0..1 range.
    """

    channels: int
    size_px: int
    value_range: tuple[float, float] = (0.0, 255.0)
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)

    @classmethod
    def of(cls, channels: int, size_px: int) -> "ImageSpec":
        """The paper's specification: 8-bit pixels scaled to -1..1."""
        return cls(channels, size_px, mean=(0.5,) * channels, deviation=(0.5,) * channels)


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Labelled images of equal size, held in memory.

    Attributes:
        images: `(image, channel, height, width)`, uint8 in 0..255.
        labels: `(image,)`, int64, an index into `class_names`.
        class_names: Class names in the study's order.
        patients: `(image,)`, int64 group codes (never an identifier), or None when unknown.
        sites: `(image,)`, names of the sites the images come from, or None when unknown.

    Raises:
        DataError: The arrays do not fit one another, or a label is outside the classes.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    patients: NDArray[np.int64] | None = None
    sites: NDArray[np.character] | None = None

    def __post_init__(self) -> None:
        problems = _problems_of_arrays(self)
        if problems:
            raise DataError(*problems)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        patients = "unknown" if self.patients is None else len(np.unique(self.patients))
        shape = "x".join(str(size) for size in self.images.shape[1:])
        return (
            f"ImageSet({len(self)} images of {shape}, {len(self.class_names)} classes, "
            f"patients: {patients})"
        )

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Number of images of each class, in the order of `class_names`."""
        return tuple(np.bincount(self.labels, minlength=len(self.class_names)).tolist())

    @property
    def digest(self) -> str:
        """SHA-256 of all that the set holds: equal sets have equal digests."""
        found = hashlib.sha256("\0".join(self.class_names).encode())
        for array in (self.images, self.labels, self.patients, self.sites):
            if array is None:
                found.update(b"none")
                continue
            found.update(f"{array.dtype.str}{array.shape}".encode())
            found.update(array.tobytes())
        return found.hexdigest()

    def subset(self, indices: Sequence[int] | NDArray[Any]) -> "ImageSet":
        """The images at `indices` (integers or a boolean mask), in that order."""
        chosen = np.asarray(indices)
        chosen = chosen if chosen.dtype == bool else chosen.astype(np.int64)
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            patients=None if self.patients is None else self.patients[chosen],
            sites=None if self.sites is None else self.sites[chosen],
        )


@dataclass(frozen=True, slots=True)
class DataSet:
    """A named data set with its splits, disjoint by patient wherever patients are known."""

    name: str
    train: ImageSet
    validation: ImageSet | None
    test: ImageSet


def _problems_of_arrays(images: ImageSet) -> list[Problem]:
    problems = []
    found = f"{images.images.dtype} of shape {images.images.shape}"
    if images.images.ndim != 4 or images.images.dtype != np.uint8:
        problems.append(
            Problem(
                "uint8 images of shape (image, channel, height, width)",
                found,
                "images",
                "Convert the images explicitly before building the set.",
            )
        )
    for name in ("labels", "patients", "sites"):
        column = getattr(images, name)
        if column is not None and column.shape != images.images.shape[:1]:
            problems.append(
                Problem(
                    f"one entry for each of the {len(images.images)} images",
                    f"shape {column.shape}",
                    name,
                    "Give one entry for each image.",
                )
            )
    labels, classes = images.labels, len(images.class_names)
    if labels.size and not (labels.min() >= 0 and labels.max() < classes):
        outside = sorted(set(labels[(labels < 0) | (labels >= classes)].tolist()))
        problems.append(
            Problem(
                f"labels in 0..{classes - 1}",
                f"{outside[:5]}",
                "labels",
                "Correct the labels or the study's class names.",
            )
        )
    return problems
