import os

import pytest

from envoi.engine.flare.inbox import Ending, Outcome, deliver, delivered, last_outcome, note_outcome
from envoi.errors import StorageError
from envoi.files import digest


def test_the_same_bytes_twice_are_one_file(tmp_path):
    first = deliver(b"weights", tmp_path, "north")
    assert first == deliver(b"weights", tmp_path, "north") == digest(b"weights")
    (file,) = tmp_path.iterdir()
    assert file.name == f"north-{first[:12]}.safetensors"
    assert file.read_bytes() == b"weights"


def test_a_damaged_file_of_that_name_is_written_anew(tmp_path):
    found = deliver(b"weights", tmp_path, "north")
    (tmp_path / f"north-{found[:12]}.safetensors").write_bytes(b"half")
    deliver(b"weights", tmp_path, "north")
    assert (tmp_path / f"north-{found[:12]}.safetensors").read_bytes() == b"weights"


def test_files_of_a_site_are_not_those_of_a_site_with_a_longer_name(tmp_path):
    deliver(b"a", tmp_path, "north")
    deliver(b"b", tmp_path, "north-2")
    (tmp_path / "north-1.safetensors").write_bytes(b"by hand")
    assert delivered(tmp_path, "north") == [f"north-{digest(b'a')[:12]}.safetensors"]
    assert delivered(tmp_path, "south") == []
    assert delivered(tmp_path / "none", "north") == []


def test_the_latest_file_stands_last(tmp_path):
    for number, content in enumerate((b"c", b"a", b"b")):
        name = f"north-{deliver(content, tmp_path, 'north')[:12]}.safetensors"
        os.utime(tmp_path / name, ns=(number, number))
    assert delivered(tmp_path, "north")[-1] == f"north-{digest(b'b')[:12]}.safetensors"


def test_how_the_last_job_ended_is_kept(tmp_path):
    assert last_outcome(tmp_path, "north") is None
    note_outcome(tmp_path, "north", job="1", outcome=Outcome.SILENT)
    note_outcome(tmp_path, "north", job="2", outcome=Outcome.DELIVERED)
    assert last_outcome(tmp_path, "north") == Ending(job="2", outcome=Outcome.DELIVERED)


def test_a_damaged_note_is_told(tmp_path):
    (tmp_path / "north.json").write_text("{")
    with pytest.raises(StorageError, match="expected how a job ended, found something else"):
        last_outcome(tmp_path, "north")
