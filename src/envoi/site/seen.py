"""Which images a training has seen, kept at the site as digests of their pixels.

Two images are the same if every pixel is. One that was cropped or resized in another way is not
recognised, and images that happen to be equal, such as black ones, are taken for one.
"""

import hashlib

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from envoi.types import ImageSet

_BYTES = 8


def image_digests(images: ImageSet) -> Int64[Tensor, " image"]:
    """The first eight bytes of SHA-256 of each image, in the order of the set."""
    each = (hashlib.sha256(image.tobytes()).digest()[:_BYTES] for image in images.images)
    numbers = np.frombuffer(b"".join(each), np.dtype("<i8")).astype(np.int64)
    return torch.from_numpy(numbers)


def seen_among(images: ImageSet, trained_on: Int64[Tensor, " seen"]) -> int:
    """How many of `images` are among those of these digests."""
    return int(torch.isin(image_digests(images), trained_on).sum())
