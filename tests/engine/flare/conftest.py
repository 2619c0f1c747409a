"""A study of three hospitals, each with files that its people have approved, and their kits."""

from datetime import date

import pytest

from envoi.networks import build
from envoi.server.student import StudentCard, write_student
from envoi.study import study_from, write_study
from envoi.submission import (
    Release,
    TrainingCard,
    generate_key,
    public_text,
    write_submission,
    write_withdrawal,
)
from envoi.submission.endorsement import endorse
from envoi.submission.evaluation import ClassEvaluation, Evaluation, Measured, write_evaluation

SERVER_KEY = generate_key()
SIGNING = {"server": {"receipts": public_text(SERVER_KEY)}}
STUDENT, HALF = "5" * 64, Measured(value=0.5, low=0.4, high=0.6)
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


def evaluate(folder, study, site, sequence=1, student=STUDENT, key=None):
    """What `envoi site evaluate` leaves in a folder."""
    told = ClassEvaluation(images=20, recall=HALF, auroc=None, answers=(0.5, 0.5))
    few = ClassEvaluation(images=0, recall=None, auroc=None, answers=())
    said = Evaluation(
        study=study.digest,
        site=site,
        sequence=sequence,
        created=date(2026, 11, 29),
        student=student,
        by_patient=False,
        accuracy=HALF,
        balanced_accuracy=HALF,
        auroc=None,
        ece=HALF,
        classes=(told, few),
    )
    path = folder / f"{site}-{student[:4]}-{sequence}.evaluation.json"
    write_evaluation(path, said, study=study, key=key or KEYS[site])
    return path


def withdraw(folder, study, site, sequence=1, key=None):
    """What `envoi site withdraw` leaves in a folder."""
    path = folder / f"{site}-{sequence}.withdrawal.json"
    write_withdrawal(path, study=study, site=site, sequence=sequence, key=key or KEYS[site])
    return path


def student_of(folder, study, seed=1):
    """What `envoi server distil` leaves in a folder."""
    network = build("resnet10-small", channels=1, classes=2, seed=seed)
    card = StudentCard("resnet10-small", study.classes, study.image, "envoi", study.digest)
    path = folder / f"student-{seed}.safetensors"
    write_student(path, network, card)
    return path


def endorsed(folder, study, seed=1, key=SERVER_KEY):
    """A student and its endorsement, from `envoi server endorse`."""
    path = student_of(folder, study, seed)
    return path, endorse(path, study=study, key=key)


@pytest.fixture(scope="session")
def study():
    return study_of()


@pytest.fixture(scope="session")
def signing():
    """The study whose server signs."""
    return study_of(**SIGNING)


@pytest.fixture
def study_file(tmp_path, study):
    path = tmp_path / "study.toml"
    write_study(path, study)
    return path
