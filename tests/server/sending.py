"""A study with a server's keys, and files of its sites, for tests of what arrives."""

from pathlib import Path

from envoi.study import Study, study_from
from envoi.submission import (
    Release,
    TrainingCard,
    generate_key,
    public_text,
    write_submission,
    write_withdrawal,
)

KEYS = {site: generate_key() for site in ("north", "south", "west")}
SERVER = generate_key()


class Killed(BaseException):
    """Stands for a kill."""


def study_of(**changes) -> Study:
    """Three sites; a server that signs receipts."""
    return study_from(
        {
            "name": "Cells",
            "classes": ["a", "b"],
            "minimum_sites": 2,
            "image": {"channels": 1, "size_px": 8},
            "model": {"architectures": ["resnet10-small"], "weight_format": "int8"},
            "server": {"receipts": public_text(SERVER)},
            "sites": {site: public_text(key) for site, key in KEYS.items()},
            **changes,
        }
    )


STUDY = study_of()


def send(path: Path, site, sequence=1, *, study=STUDY, counts=(20, 30), created=None) -> bytes:
    """Write the submission of `site` to `path`."""
    state = study.network().state_dict()
    release = Release(
        architecture="resnet10-small",
        state={name: tensor for name, tensor in state.items() if tensor.dim()},
        class_counts=counts,
        card=TrainingCard(epochs=1, images=sum(counts)),
    )
    words = {"study": study, "site": site, "sequence": sequence, "key": KEYS[site]}
    write_submission(path, release, **words, created=created)
    return path.read_bytes()


def take_back(path, site, sequence, *, study=STUDY):
    """Write the withdrawal notice of `site` to `path`."""
    write_withdrawal(path, study=study, site=site, sequence=sequence, key=KEYS[site])
