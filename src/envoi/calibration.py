"""The one temperature that calibrates a classifier (arXiv:1706.04599, section 4.2).

Sites fit it on their validation part, the evaluation on held-out images: it stands below both.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from envoi.errors import Problem, ShapeError

TEMPERATURES = (0.05, 20.0)


def fit_temperature(
    logits: NDArray[Any], labels: NDArray[Any], offsets: NDArray[Any] | float = 0.0
) -> float:
    """The T within 0.05..20 that makes labels most likely under `softmax(logits / T + offsets)`.

    It is 1, so that the classifier stays as it is, where the answers do not tell: every answer
    is right (the likelihood grows without end as T falls) or all logits of an image are equal.

    Args:
        logits: `(image, class)`, finite, of images that did not train the classifier.
        labels: `(image,)`, integers, indices into the classes.
        offsets: One for each class: the logarithm of what the labels' class mix is to that of
            the logits. Without it a prior that training took out would pass for a lack of
            confidence.

    Raises:
        ShapeError: There is no image, or not one label for each.
    """
    if logits.ndim != 2 or not len(logits) or labels.shape != logits.shape[:1]:
        raise ShapeError(
            Problem(
                "logits (image, class) of one image at least, and one label for each",
                f"shapes {logits.shape} and {labels.shape}",
                "temperature",
                "Fit on the logits and labels of held-out images.",
            )
        )
    wide = logits.astype(np.float64)
    margins = wide - np.take_along_axis(wide, labels[:, None], axis=1)
    if margins.max() <= 0:
        return 1.0
    every = np.broadcast_to(np.asarray(offsets, dtype=np.float64), wide.shape)
    shifts = every - np.take_along_axis(every, labels[:, None], axis=1)

    def loss(log_temperature: float) -> float:
        scaled = margins * math.exp(-log_temperature) + shifts
        return float(np.logaddexp.reduce(scaled, axis=1).mean())

    # Convex in 1/T, hence one minimum in log T too.
    low, high = (math.log(bound) for bound in TEMPERATURES)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))
