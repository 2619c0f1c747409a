from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Answers = tuple[NDArray[np.floating], NDArray[np.int64]]


@pytest.fixture(scope="session")
def answers() -> Callable[..., Answers]:
    """Draw a test set: probabilities of a classifier that is right more often than not."""

    def draw(images: int, classes: int, *, seed: int = 0, sharpness: float = 1.5) -> Answers:
        generator = np.random.default_rng(seed)
        labels = generator.integers(0, classes, images)
        logits = generator.normal(size=(images, classes))
        logits[np.arange(images), labels] += sharpness
        exponentials = np.exp(logits)
        return exponentials / exponentials.sum(axis=1, keepdims=True), labels

    return draw
