"""Files: whole or not at all, and one text for one JSON value."""

import errno
import hashlib
import json
import os
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.errors import StorageError
from envoi.files import (
    canonical_json,
    check_folder,
    check_writable,
    digest,
    digest_of_parts,
    file_digest,
    read_json,
    read_text,
    write_bytes,
    write_json,
    write_text,
    writing,
)

quick = settings(deadline=None, max_examples=30)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_is_written_is_read_back_and_folders_are_made(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    write_text(path, "ä\n")
    assert path.read_bytes() == b"\xc3\xa4\n"
    write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_permissions_are_as_asked(tmp_path):
    write_bytes(tmp_path / "key", b"secret", mode=0o600)
    write_bytes(tmp_path / "file", b"public")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("key", "file")]
    assert modes == [0o600, 0o644]


@pytest.mark.parametrize("call", ["fsync", "fdopen"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(call, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_text(path, "old")
    monkeypatch.setattr(os, call, full_disk)
    with pytest.raises(
        StorageError, match=r"file: expected a writable file, found No space left"
    ) as told:
        write_text(path, "new")
    assert "Free some space or choose another folder" in str(told.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("bad picture"), KeyboardInterrupt()])
def test_an_interrupted_writer_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")

    def interrupted():
        with writing(path) as file:
            file.write(b"half of the new")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with writing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_file_in_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "taken").write_text("")
    for path in (tmp_path / "taken" / "result", tmp_path / "taken" / "below" / "result"):
        with pytest.raises(StorageError, match=r"^taken: expected a folder, found a file") as told:
            write_text(path, "text")
        assert "space" not in str(told.value)


def test_long_work_can_make_sure_that_its_folder_is_none_or_one(tmp_path):
    (tmp_path / "taken").write_text("")
    check_folder(tmp_path)
    check_folder(tmp_path / "new" / "below")
    for path in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(StorageError, match=r"^taken: expected a folder, found a file"):
            check_folder(path)


def test_long_work_can_make_sure_that_its_folder_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    for path in (tmp_path / "new", tmp_path / "new" / "below", tmp_path):
        check_writable(path)
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
    for path in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(StorageError, match=r"^taken: expected a folder, found a file"):
            check_writable(path)
    monkeypatch.setattr("envoi.files.os.access", lambda place, how: place != tmp_path)
    for path in (tmp_path, tmp_path / "new" / "below"):
        with pytest.raises(StorageError, match="a writable folder, found no permission to write"):
            check_writable(path)


@pytest.mark.parametrize("text", ["{", "", "[1]", "3"])
def test_json_that_is_damaged_is_told_in_a_line(text, tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"b": 1}')
    assert read_json(file, what="a sidecar", remedy="Make it again.") == {"b": 1}
    file.write_text(text)
    with pytest.raises(StorageError) as caught:
        read_json(file, what="a sidecar", remedy="Make it again.")
    assert str(caught.value) == ("a.json: expected a sidecar, found a damaged file. Make it again.")


def test_a_folder_in_place_of_the_file_is_told(tmp_path):
    (tmp_path / "result").mkdir()
    with pytest.raises(
        StorageError, match=r"^result: expected a file, found a folder of that name"
    ):
        write_text(tmp_path / "result", "text")
    assert [file.name for file in tmp_path.iterdir()] == ["result"]


def test_messages_name_the_file_and_not_its_folder(tmp_path):
    with pytest.raises(StorageError) as caught:
        read_text(tmp_path / "study.toml", what="a study file", remedy="Ask for it.")
    wanted = "study.toml: expected a study file, found No such file or directory. Ask for it."
    assert str(caught.value) == wanted


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "study.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(
        StorageError, match=r"expected a study file, found bytes that are not UTF-8\. Ask for it"
    ):
        read_text(tmp_path / "study.toml", what="a study file", remedy="Ask for it.")
    with pytest.raises(StorageError, match=r"not UTF-8\. Save it as UTF-8 .*\. Ask for it\."):
        read_text(
            tmp_path / "study.toml", what="a study file", remedy="Ask for it.", is_written=True
        )


def test_json_files_are_for_people_and_end_in_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"b": "ä", "a": [1]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "b": "ä",\n  "a": [\n    1\n  ]\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_what_json_cannot_say_is_not_written(value, tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        canonical_json(value)
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "a.json", value)
    assert not list(tmp_path.iterdir())


@quick
@given(JSON)
def test_canonical_json_says_the_value_and_no_more(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    assert canonical_json({"b": 1, "a": ["ä", None]}) == '{"a":["ä",null],"b":1}'
    assert canonical_json({"a": ["ä", None], "b": 1}) == canonical_json({"b": 1, "a": ["ä", None]})


def test_digests_are_sha256(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    wanted = hashlib.sha256(content).hexdigest()
    assert (
        digest(content) == digest(memoryview(content)) == file_digest(tmp_path / "file") == wanted
    )


def test_a_digest_of_parts_is_that_of_the_whole():
    parts = [b"one", memoryview(b"two"), b"", np.arange(6, dtype=np.float32).reshape(2, 3).data]
    assert digest_of_parts(iter(parts)) == digest(b"".join(bytes(part) for part in parts))
