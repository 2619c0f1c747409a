"""MedMNIST's 2D files: one .npz of six arrays (Yang et al., Scientific Data 10:41, 2023).

`{train,val,test}_images` are uint8, `(image, height, width)` or `(image, height, width, channel)`
with 1 or 3 channels and square images of any size; `{train,val,test}_labels` are `(image,)` or
`(image, 1)`. Multi-label sets (ChestMNIST) are refused.
"""

import re
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from envoi.data.findings import refuse
from envoi.errors import DataError, Problem, StorageError
from envoi.types import DataSet, ImageSet

_PARTS = ("train", "val", "test")
_KEYS = tuple(f"{part}_{what}" for part in _PARTS for what in ("images", "labels"))
_REMEDY = "Give a file with MedMNIST's six arrays."

_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)
# Where MedMNIST's own name is a sentence, the usual short one stands here.
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
    "breastmnist": ("malignant", "normal or benign"),
    "dermamnist": ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    "octmnist": ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    "organamnist": _ORGANS,
    "organcmnist": _ORGANS,
    "organsmnist": _ORGANS,
    "pathmnist": (
        "adipose",
        "background",
        "debris",
        "lymphocytes",
        "mucus",
        "smooth muscle",
        "normal colon mucosa",
        "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    ),
    "pneumoniamnist": ("normal", "pneumonia"),
    "retinamnist": ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4"),
    "tissuemnist": (
        "collecting duct or connecting tubule",
        "distal convoluted tubule",
        "glomerular endothelial cell",
        "interstitial endothelial cell",
        "leukocyte",
        "podocyte",
        "proximal tubule segment",
        "thick ascending limb",
    ),
}

# What zipfile and NumPy raise of damaged, encrypted or lying files.
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    EOFError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
)

_Arrays = dict[str, NDArray[Any]]


def load_medmnist(
    path: Path, *, name: str | None = None, class_names: Sequence[str] | None = None
) -> DataSet:
    """Read one file of MedMNIST's format, whole.

    Args:
        path: The .npz file; arrays of Python objects are refused, not run.
        name: Of the data set; by default the file's, without its ending.
        class_names: In label order; by default MedMNIST's for its own files (with or without a
            size, as in `bloodmnist_128.npz`), else `0`, `1`, ...

    Raises:
        StorageError: The file cannot be read.
        DataError: Arrays are missing or wrong; all problems at once.
    """
    arrays = _arrays(path, _KEYS)
    refuse(problem for part in _PARTS for problem in _problems_of_part(part, arrays))
    names = tuple(class_names or _known_classes(path.stem) or _numbers(arrays))
    refuse([*_problems_of_sizes(arrays), *_problems_of_labels(arrays, names)])
    train, validation, test = (_image_set(part, arrays, names) for part in _PARTS)
    return DataSet(name or path.stem, train, validation, test)


def load_images(path: Path, part: str | None) -> UInt8[NDArray[np.uint8], "image channel px px"]:
    """The images alone of a file of which labels, or whole parts, may be missing.

    Args:
        path: The .npz file, in all else as `load_medmnist` reads it.
        part: `train`, `validation` or `test`; None is all that are there, in this order.

    Raises:
        StorageError: The file cannot be read.
        DataError: There are no such images, or they are wrong; all problems at once.
    """
    parts = _PARTS if part is None else (_PARTS[("train", "validation", "test").index(part)],)
    arrays = _arrays(path, tuple(f"{name}_images" for name in parts), all_of_them=False)
    refuse(
        problem for key, images in arrays.items() for problem in _problems_of_images(key, images)
    )
    refuse(_problems_of_sizes(arrays))
    return np.concatenate([_pixels(images) for images in arrays.values()])


def _arrays(path: Path, keys: tuple[str, ...], *, all_of_them: bool = True) -> _Arrays:
    """The named arrays, read without pickle."""
    try:
        with path.open("rb") as handle:
            return _members(
                np.load(handle, allow_pickle=False), path, keys, all_of_them=all_of_them
            )
    except _DAMAGES as err:
        raise _refused("a damaged file", path) from err
    except OSError as err:
        if err.errno is None:
            raise _refused("a damaged file", path) from err
        found = err.strerror or "an error of the file system"
        raise StorageError(Problem("an .npz file", found, path.name, _REMEDY)) from err
    except ValueError as err:
        if isinstance(err, DataError):
            raise
        # NumPy says so of what it would have to unpickle, and of every file that it does not know.
        is_pickled = "Object arrays" in str(err) or _begins_like_a_pickle(path)
        found = "Python objects" if is_pickled else "a file of another kind"
        raise _refused(found, path) from err


def _begins_like_a_pickle(path: Path) -> bool:
    """Whether the file begins with the byte that names a pickle's protocol (2 and later)."""
    with path.open("rb") as handle:
        return handle.read(1) == b"\x80"


def _members(
    file: Any,  # noqa: ANN401  (whatever NumPy makes of a file)
    path: Path,
    keys: tuple[str, ...],
    *,
    all_of_them: bool,
) -> _Arrays:
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise _refused("a single array", path)
    missing = [key for key in keys if key not in file.files]
    if missing and (all_of_them or len(missing) == len(keys)):
        raise _refused(f"a file without {', '.join(missing)}", path)
    return {key: file[key] for key in keys if key in file.files}


def _problems_of_part(part: str, arrays: _Arrays) -> Iterator[Problem]:
    """Wrong kinds and shapes, looked at without the other parts."""
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    yield from _problems_of_images(f"{part}_images", images)
    count = len(images) if images.ndim else 0
    found = f"{labels.dtype} of shape {labels.shape}"
    where = f"{part}_labels"
    if labels.ndim == 2 and labels.shape[1] > 1:
        remedy = "Choose a set with one label an image; multi-label sets are not read."
        yield Problem("one label an image", found, where, remedy)
    elif labels.shape not in {(count,), (count, 1)}:
        yield Problem(f"one label for each of {count} images", found, where, _REMEDY)
    if not np.issubdtype(labels.dtype, np.integer):
        yield Problem("whole numbers", found, where, "Convert the labels explicitly.")


def _problems_of_images(where: str, images: NDArray[Any]) -> Iterator[Problem]:
    shape, found = images.shape, f"{images.dtype} of shape {images.shape}"
    remedy = "Convert the images explicitly."
    if images.dtype != np.uint8:
        yield Problem("uint8 pixels", found, where, remedy)
    if images.ndim not in {3, 4} or shape[1] != shape[2]:
        yield Problem("square images, 3 or 4 axes", found, where, remedy)
    elif images.ndim == 4 and shape[3] not in {1, 3}:
        yield Problem("1 or 3 channels on the last axis", found, where, remedy)
    if not images.size:
        yield Problem("at least one image", found, where, "Give a file with all three splits.")


def _problems_of_sizes(arrays: _Arrays) -> Iterator[Problem]:
    named = {part: arrays.get(f"{part}_images") for part in _PARTS}
    shapes = {part: images.shape[1:] for part, images in named.items() if images is not None}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{part} {shape}" for part, shape in shapes.items())
        remedy = "Resample the images explicitly."
        yield Problem("images of one size and colour in all splits", found, "images", remedy)


def _problems_of_labels(arrays: _Arrays, names: tuple[str, ...]) -> Iterator[Problem]:
    for part in _PARTS:
        labels = arrays[f"{part}_labels"]
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(names):
            expected = f"labels in 0..{len(names) - 1}"
            remedy = (
                "Correct the labels, or list all classes in the study (in Python: class_names)."
            )
            yield Problem(expected, f"labels in {low}..{high}", f"{part}_labels", remedy)


def _known_classes(stem: str) -> tuple[str, ...] | None:
    """MedMNIST's classes, if the file bears the name of one of its sets."""
    family = re.fullmatch(r"([a-z]+)(_\d+)?", stem.lower())
    return _CLASSES.get(family[1]) if family else None


def _numbers(arrays: _Arrays) -> tuple[str, ...]:
    highest = max(int(arrays[f"{part}_labels"].max()) for part in _PARTS)
    images = sum(len(arrays[f"{part}_labels"]) for part in _PARTS)
    # A stray huge label must not make as many classes: it is told as a label outside them.
    return tuple(str(label) for label in range(min(highest, images) + 1))


def _image_set(part: str, arrays: _Arrays, names: tuple[str, ...]) -> ImageSet:
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    return ImageSet(_pixels(images), labels.reshape(-1).astype(np.int64), names)


def _pixels(images: NDArray[Any]) -> UInt8[NDArray[np.uint8], "image channel px px"]:
    """Channels before rows."""
    pixels = images[..., None] if images.ndim == 3 else images
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _refused(found: str, path: Path) -> DataError:
    return DataError(Problem("an .npz file of MedMNIST's six arrays", found, path.name, _REMEDY))
