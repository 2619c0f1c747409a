"""The student's file: one network and all that is needed to use it without its study.toml.

A safetensors file whose metadata has one key, `student`: a `StudentCard` as canonical JSON.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from envoi.checkpoint import State
from envoi.errors import Problem, StorageError, StudyError
from envoi.networks import architecture, build
from envoi.networks.carded import card_text, write_carded
from envoi.networks.classifier import Classifier
from envoi.networks.initialisation import skeleton
from envoi.study import Study
from envoi.types import ImageSpec

_REMEDY = "Give the .safetensors file of a student, as `envoi server distil` names it."
# Upper bounds: a tensor's entry in the header without its name; the card without class names.
_ENTRY_ROOM = 160
_CARD_ROOM = 4096


@dataclass(frozen=True, slots=True)
class StudentCard:
    """What a student is.

    Attributes:
        architecture: A key of `ARCHITECTURES`.
        class_names: In the order of its logits.
        image: What its inputs look like.
        method: That made it.
        study: Digest of its study.
    """

    architecture: str
    class_names: tuple[str, ...]
    image: ImageSpec
    method: str
    study: str


class Student(NamedTuple):
    """A student, ready to answer.

    Attributes:
        network: In evaluation mode, on the CPU.
        class_names: In the order of its logits.
        image: What its inputs look like.
    """

    network: Classifier
    class_names: tuple[str, ...]
    image: ImageSpec


def write_student(path: Path, network: Classifier, card: StudentCard) -> None:
    """Write the student's file; equal students give equal bytes.

    Raises:
        StorageError: The file cannot be written.
    """
    write_carded(path, network, key="student", card=card)


def load_student(path: Path) -> Student:
    """The student of a file: its network, its class names and what its images look like.

    Raises:
        StorageError: The file cannot be read, or is no student.
        StudyError: Its architecture is not known.
    """
    card, state = student_card(path), _tensors(path)
    network = build(
        card.architecture, channels=card.image.channels, classes=len(card.class_names), seed=0
    )
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as err:
        found = "tensors of another network"
        raise StorageError(
            Problem(f"the weights of a {card.architecture}", found, path.name, _REMEDY)
        ) from err
    network.eval()
    return Student(network, card.class_names, card.image)


def student_card(path: Path) -> StudentCard:
    """What a student's file says of it.

    Raises:
        StorageError: The file cannot be read, or is no student.
    """
    try:
        return TypeAdapter(StudentCard).validate_json(card_text(path, key="student"))
    except OSError as err:
        raise _no_student(path, err.strerror or "nothing that can be read") from err
    except (SafetensorError, ValidationError) as err:
        raise _no_student(path, "another file") from err


def check_student_of(path: Path, study: Study) -> None:
    """Refuse the student of another study, by what its file says.

    Raises:
        StudyError: It is one.
        StorageError: The file cannot be read, or is no student.
    """
    found = student_card(path).study
    if found != study.digest:
        expected = f"a student of this study, {study.digest[:12]}..."
        remedy = "Give the study.toml and the student that belong together."
        raise StudyError(Problem(expected, f"one of {found[:12]}...", path.name, remedy))


def largest_student_bytes(study: Study) -> int:
    """As many bytes as no student of `study` exceeds: a few kilobytes more than its largest has."""
    # A quote or a control character of a name is escaped twice, once inside the card's own text.
    names = len(json.dumps(json.dumps(list(study.classes))))
    return max(_tensor_room(name, study) for name in study.architectures) + names + _CARD_ROOM


def _tensor_room(name: str, study: Study) -> int:
    network = skeleton(
        architecture(name), channels=study.image.channels, classes=len(study.classes)
    )
    return sum(
        len(key) + _ENTRY_ROOM + tensor.numel() * tensor.element_size()
        for key, tensor in network.state_dict().items()
    )


def _tensors(path: Path) -> State:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as err:
        raise _no_student(path, "a damaged file") from err


def _no_student(path: Path, found: str) -> StorageError:
    return StorageError(Problem("a student", found, path.name, _REMEDY))
