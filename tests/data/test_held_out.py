"""Who was held out is told by a number and a seed, and by no name."""

import json

import numpy as np
import pytest

from envoi.data.brains import split_subjects
from envoi.data.held_out import FILE, HeldOut, read_held_out, write_held_out
from envoi.data.nifti import VolumePermissions
from envoi.errors import SettingsError, StorageError
from envoi.volumes import Grid, Subject, Volume

SPLIT = HeldOut(
    persons=2,
    seed=7,
    permissions=VolumePermissions(reorient=True, spacing_mm=4.0, shape=(48, 56, 48)),
)


def people(count):
    volume = Volume(np.ones((2, 2, 2), np.float32), Grid((2, 2, 2), (1.0, 1.0, 1.0)))
    return [Subject(f"sub-{number:02d}", volume) for number in range(count)]


def test_what_is_written_is_read(tmp_path):
    write_held_out(tmp_path, SPLIT)
    assert read_held_out(tmp_path) == SPLIT
    assert json.loads((tmp_path / FILE).read_text()) == {
        "persons": 2,
        "seed": 7,
        "permissions": {
            "reorient": True,
            "spacing_mm": 4.0,
            "shape": [48, 56, 48],
            "allow_skull": False,
        },
    }


def test_the_split_is_that_of_its_number_and_seed():
    subjects = people(6)
    assert SPLIT.part(subjects) == split_subjects(subjects, 2, 7)
    nobody = HeldOut(persons=0, seed=7, permissions=VolumePermissions())
    with pytest.raises(SettingsError, match="expected 1 to 4 of 6 persons, found 0"):
        nobody.part(subjects)


def test_one_person_is_too_few_to_learn_from():
    most = HeldOut(persons=5, seed=7, permissions=VolumePermissions())
    with pytest.raises(SettingsError) as caught:
        most.part(people(6))
    assert str(caught.value) == (
        "held_out: expected 1 to 4 of 6 persons, found 5. Leave 2 persons or more to learn from."
    )


def test_a_folder_without_a_split_is_refused(tmp_path):
    with pytest.raises(StorageError, match="split.json: expected .* Say --held-out and --seed"):
        read_held_out(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"persons": 2}', '{"persons": "x", "seed": 0}'])
def test_a_split_that_tells_something_else_is_refused(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StorageError, match=r"expected the split of a run, found \d wrong field"):
        read_held_out(tmp_path)
