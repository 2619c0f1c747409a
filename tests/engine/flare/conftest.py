"""A study of three hospitals, each with a file that its people have approved, and their kits."""

import pytest

from envoi.study import study_from, write_study
from envoi.submission import (
    Release,
    TrainingCard,
    generate_key,
    public_text,
    write_submission,
)

KEYS = {site: generate_key() for site in ("north", "south-clinic", "west")}


def study_of(**changes):
    return study_from(
        {
            "name": "Cells",
            "classes": ["a", "b"],
            "minimum_sites": 2,
            "image": {"channels": 1, "size_px": 8},
            "model": {"architectures": ["resnet10-small"]},
            "sites": {site: public_text(key) for site, key in KEYS.items()},
            **changes,
        }
    )


def approve(folder, study, site, sequence=1, key=None):
    """What `envoi site submit` leaves in a folder."""
    state = study.network().state_dict()
    release = Release(
        architecture="resnet10-small",
        state={name: tensor for name, tensor in state.items() if tensor.dim()},
        class_counts=(20, 30),
        card=TrainingCard(epochs=1, images=50),
    )
    path = folder / f"{site}-{sequence}.safetensors"
    write_submission(
        path, release, study=study, site=site, sequence=sequence, key=key or KEYS[site]
    )
    return path


@pytest.fixture(scope="session")
def study():
    return study_of()


@pytest.fixture
def study_file(tmp_path, study):
    path = tmp_path / "study.toml"
    write_study(path, study)
    return path
