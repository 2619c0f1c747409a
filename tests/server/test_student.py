"""The student's file: written, read back to the same answers, and told apart from other files."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import envoi
from envoi.errors import StorageError, StudyError
from envoi.networks import build
from envoi.server.build import predict
from envoi.server.student import (
    StudentCard,
    check_student_of,
    largest_student_bytes,
    load_student,
    student_card,
    write_student,
)
from envoi.study import study_from
from envoi.types import ImageSpec

CARD = StudentCard("resnet10-small", ("a", "b"), ImageSpec.of(1, 8), "fedisca", "0" * 64)


@pytest.fixture
def network():
    network = build("resnet10-small", channels=1, classes=2, seed=3)
    with torch.no_grad():
        network(torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    return network.eval()


@pytest.fixture
def file(network, tmp_path):
    write_student(tmp_path / "student.safetensors", network, CARD)
    return tmp_path / "student.safetensors"


def test_a_student_is_read_back_with_all_that_its_use_needs(file, network):
    read, class_names, spec = envoi.load_student(file)
    assert (class_names, spec, read.training) == (("a", "b"), CARD.image, False)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8)
    assert (predict(read, pixels, spec) == predict(network, pixels, CARD.image)).all()
    assert student_card(file) == CARD


def test_equal_students_give_equal_bytes(file, network, tmp_path):
    write_student(tmp_path / "again", network, CARD)
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


def rewritten(file, **changes):
    """The file with other values on its card."""
    with safe_open(file, framework="pt") as opened:
        card = {**json.loads(opened.metadata()["student"]), **changes}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    save_file(tensors, file, metadata={"student": json.dumps(card)})
    return file


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["a", "b", "c"]}, "expected the weights of a resnet10-small, found tens"),
        ({"architecture": "wrn-16-2"}, "expected the weights of a wrn-16-2, found tensors of an"),
        ({"image": {"channels": 1}}, "student.safetensors: expected a student, found another"),
        ({"class_names": 3}, "student.safetensors: expected a student, found another file"),
    ],
)
def test_a_card_that_does_not_fit_is_told(changes, message, file):
    with pytest.raises(StorageError, match=message):
        load_student(rewritten(file, **changes))


def test_an_unknown_architecture_is_told(file):
    with pytest.raises(StudyError, match="found 'alexnet'"):
        load_student(rewritten(file, architecture="alexnet"))


def test_other_files_are_told(file, tmp_path):
    (tmp_path / "text").write_text("hello")
    save_file({"x": torch.zeros(1)}, tmp_path / "plain")
    (tmp_path / "cut").write_bytes(file.read_bytes()[:-100])
    for name in ("text", "plain", "cut", "nowhere"):
        with pytest.raises(StorageError, match=f"{name}: expected a student, found .* Give the"):
            load_student(tmp_path / name)


@pytest.mark.parametrize("names", [("a", "b"), ('"quoted"', "\u00e4\U0001f600\\"), ("x" * 99, "y")])
@pytest.mark.parametrize("architecture", ["resnet10-small", "resnet18"])
def test_no_student_weighs_more_than_its_study_says_and_none_much_less(
    tmp_path, names, architecture
):
    study = study_from(
        {
            "name": "Cells",
            "classes": list(names),
            "image": {"channels": 3, "size_px": 32},
            "model": {"architectures": [architecture]},
        }
    )
    network = build(architecture, channels=3, classes=2, seed=0)
    card = StudentCard(architecture, study.classes, study.image, "m" * 99, study.digest)
    write_student(tmp_path / "student.safetensors", network, card)
    size = (tmp_path / "student.safetensors").stat().st_size
    assert size <= largest_student_bytes(study) <= size + 20_000


def test_the_student_of_another_study_is_told(file):
    study = study_from(
        {
            "name": "Cells",
            "classes": ["a", "b"],
            "image": {"channels": 1, "size_px": 8},
            "model": {"architectures": ["resnet10-small"]},
        }
    )
    with pytest.raises(StudyError, match="expected a student of this study, .* found one of 000"):
        check_student_of(file, study)
