"""MedMNIST's files: one .npz of six arrays (Yang et al., Scientific Data 2023, v2).

`{train,val,test}_images` are uint8 `(image, height, width)` or `(image, height, width, channel)`
with square images of any size; `{train,val,test}_labels` are `(image,)` or `(image, 1)`.
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envoi.errors import DataError, Problem, StorageError
from envoi.types import DataSet, ImageSet

_PARTS = ("train", "val", "test")
_KEYS = tuple(f"{part}_{what}" for part in _PARTS for what in ("images", "labels"))
_REMEDY = "Give a file with MedMNIST's six arrays."

_CLASSES: dict[str, tuple[str, ...]] = {
    "bloodmnist": (
        "basophil",
        "eosinophil",
        "erythroblast",
        "immature granulocyte",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    ),
    "dermamnist": ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "pneumoniamnist": ("normal", "pneumonia"),
    "breastmnist": ("malignant", "normal or benign"),
    "retinamnist": ("0", "1", "2", "3", "4"),
}


def load_medmnist(path: Path, *, class_names: tuple[str, ...] | None = None) -> DataSet:
    """Read one MedMNIST-like file.

    Args:
        path: The .npz file.
        class_names: In label order; by default MedMNIST's own for its data sets, else numbers.

    Raises:
        StorageError: The file cannot be read.
        DataError: Arrays are missing or wrong; all problems at once.
    """
    arrays = _arrays(path)
    problems = [p for part in _PARTS for p in _problems_of(part, arrays)]
    sizes = {arrays[f"{part}_images"].shape[1:] for part in _PARTS}
    if len(sizes) > 1:
        problems.append(
            Problem("one image size in all splits", f"{sorted(sizes)}", path.name, _REMEDY)
        )
    if problems:
        raise DataError(*problems)
    highest = max(int(arrays[f"{part}_labels"].max()) for part in _PARTS)
    names = class_names or _CLASSES.get(path.stem.split("_")[0])
    names = names or tuple(str(label) for label in range(highest + 1))
    train, validation, test = (_image_set(part, arrays, names) for part in _PARTS)
    return DataSet(path.stem, train, validation, test)


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in _KEYS if key not in file]
            if missing:
                found = f"no {', '.join(missing)}"
                raise DataError(Problem("MedMNIST's six arrays", found, path.name, _REMEDY))
            return {key: file[key] for key in _KEYS}
    except OSError as err:
        found = err.strerror or "another format"
        raise StorageError(Problem("an .npz file", found, path.name, _REMEDY)) from err
    except (zipfile.BadZipFile, ValueError, EOFError, AttributeError, TypeError) as err:
        if isinstance(err, DataError):
            raise
        raise DataError(
            Problem("an .npz file of plain arrays", "another format", path.name, _REMEDY)
        ) from err


def _problems_of(part: str, arrays: dict[str, NDArray[np.generic]]) -> list[Problem]:
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    shape = images.shape
    square = images.ndim in {3, 4} and shape[1] == shape[2]
    problems = []
    if not square or images.dtype != np.uint8 or (images.ndim == 4 and shape[3] not in {1, 3}):
        problems.append(
            Problem(
                "square uint8 images with 1 or 3 channels",
                f"{images.dtype} of shape {shape}",
                f"{part}_images",
                "Convert the images explicitly.",
            )
        )
    if len(images) == 0:
        problems.append(Problem("at least one image", "none", f"{part}_images", _REMEDY))
    flat = labels.ndim == 1 or (labels.ndim == 2 and labels.shape[1] == 1)
    if not flat or not np.issubdtype(labels.dtype, np.integer) or len(labels) != len(images):
        problems.append(
            Problem(
                f"one whole number for each of the {len(images)} images",
                f"{labels.dtype} of shape {labels.shape}",
                f"{part}_labels",
                "Envoi reads single-label sets only.",
            )
        )
    return problems


def _image_set(
    part: str, arrays: dict[str, NDArray[np.generic]], names: tuple[str, ...]
) -> ImageSet:
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    stacked = images[..., None] if images.ndim == 3 else images
    pixels = np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)).astype(np.uint8, copy=False)
    return ImageSet(pixels, labels.reshape(-1).astype(np.int64), names)
