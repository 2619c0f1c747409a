"""Calibration by one temperature (arXiv:1706.04599, section 4.2).

Logits divided by the temperature keep their order, so accuracy is unchanged; only the
confidence moves.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from envoi import calibration
from envoi.evaluation.checks import check_logits, check_temperature


def softmax(logits: NDArray[Any], *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities of logits along the last axis; no logit is too large.

    Raises:
        SettingsError: The temperature is not above 0.
    """
    check_temperature(temperature)
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def negative_log_likelihood(
    logits: NDArray[Any], labels: NDArray[Any], *, temperature: float = 1.0
) -> float:
    """Mean negative log-likelihood of the right answers, in nats.

    Args:
        logits: `(image, class)`, any float type.
        labels: `(image,)`, integers.
        temperature: Divides the logits; above 0.

    Raises:
        ShapeError: The two do not fit one another.
        DataError: A logit is not finite, or a label is outside the classes.
        SettingsError: The temperature is not above 0.
    """
    check_logits(logits, labels)
    check_temperature(temperature)
    scaled = logits.astype(np.float64) / temperature
    right = np.take_along_axis(scaled, labels[:, None], axis=1)
    return float((logsumexp(scaled, axis=1, keepdims=True) - right).mean())


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any]) -> float:
    """The temperature that makes held-out labels most likely, of input that is checked first.

    Sought between 0.05 and 20; 1 where the answers do not tell (`envoi.calibration`).

    Args:
        logits: `(image, class)`, any float type, of images the model was not trained on.
        labels: `(image,)`, integers.

    Returns:
        Above 1 for a model that was too sure, below 1 for one that was not sure enough.

    Raises:
        ShapeError: The two do not fit one another, or there is no image.
        DataError: A logit is not finite, or a label is outside the classes.
    """
    check_logits(logits, labels)
    return calibration.fit_temperature(logits, labels)
