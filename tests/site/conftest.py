import numpy as np
import pytest

from envoi.study import Study, study_from
from envoi.types import ImageSet

CLASSES = ("round", "lobed", "empty")


def study_document(**changes):
    """The tables of a small valid study, with top-level changes."""
    return {
        "name": "Cells",
        "classes": list(CLASSES),
        "seed": 7,
        "minimum_sites": 1,
        "image": {"channels": 1, "size_px": 12, "mean": [0.5], "deviation": [0.5]},
        "model": {"architectures": ["resnet10-small", "vgg8"], "weight_format": "fp32"},
        "statistics": {"release": ["class_counts"], "minimum_class_size": 2},
        "training": {
            "epochs": 3,
            "batch_size": 16,
            "rate": 0.05,
            "validation_fraction": 0.25,
            "augment": True,
        },
        "sites": {},
        **changes,
    }


@pytest.fixture
def make_study():
    def make(**changes) -> Study:
        return study_from(study_document(**changes))

    return make


@pytest.fixture
def study(make_study) -> Study:
    return make_study()


@pytest.fixture
def make_images():
    """Bright, dark and striped squares with noise: a task that a tiny network learns."""

    def make(count=48, *, seed=0, labels=None, patients=None, size=12) -> ImageSet:
        rng = np.random.default_rng(seed)
        labels = np.arange(count) % 3 if labels is None else np.asarray(labels)
        base = np.array([200, 60, 130])[labels][:, None, None, None]
        images = np.repeat(np.repeat(base, size, 2), size, 3).astype(float)
        images[labels == 2, :, ::2] += 60
        images += rng.normal(0, 12, images.shape)
        return ImageSet(
            images.clip(0, 255).astype(np.uint8),
            labels.astype(np.int64),
            CLASSES,
            None if patients is None else np.asarray(patients, dtype=np.int64),
        )

    return make
