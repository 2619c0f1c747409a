import pytest

from envoi.study import Study
from envoi.submission import generate_key, public_text
from envoi.types import ImageSpec


@pytest.fixture(scope="session")
def keys():
    """Public keys of three sites, as they stand in a roster."""
    return [public_text(generate_key()) for _ in range(3)]


@pytest.fixture
def study(keys):
    return Study(
        name="Skin lesions",
        classes=("nevus", "melanoma", "keratosis"),
        image=ImageSpec.of(3, 28),
        architectures=("resnet10-small", "vgg8"),
        seed=7,
        sites={"north": keys[0], "south": keys[1]},
    )


@pytest.fixture
def document(keys):
    """The tables of a valid study.toml."""
    return {
        "name": "Skin lesions",
        "classes": ["nevus", "melanoma"],
        "image": {"channels": 3, "size_px": 28},
        "model": {"architectures": ["resnet10-small"]},
        "sites": {"north": keys[0], "south": keys[1]},
    }
