import errno
import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import envoi.submission.delivery
from envoi.errors import StorageError, SubmissionError
from envoi.files import file_digest
from envoi.submission import write_withdrawal
from envoi.submission.delivery import CHUNK_BYTES, deliver
from envoi.submission.kinds import AGE_MAGIC

CONTENT = AGE_MAGIC + bytes(range(251)) * 13
NAME = "north-1.safetensors.age"
UNHURRIED = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Killed(BaseException):
    """Stands for a kill."""


@pytest.fixture
def small(monkeypatch):
    """Chunks of 100 bytes."""
    monkeypatch.setattr(envoi.submission.delivery, "CHUNK_BYTES", 100)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NAME).write_bytes(CONTENT)
    return tmp_path / "out" / NAME


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def part_of(file, inbox):
    return inbox / f"{NAME}.{file_digest(file)[:16]}.part"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_is_told(file, inbox, small):
    seen = []
    done = deliver(file, inbox, on_bytes=lambda now, total: seen.append((now, total)))
    assert (inbox / NAME).read_bytes() == CONTENT
    assert names(inbox) == [NAME]
    assert done.path == inbox / NAME
    assert (done.bytes, done.kept_bytes, done.sha256) == (len(CONTENT), 0, file_digest(file))
    assert seen[0] == (100, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_twice_is_once(file, inbox):
    deliver(file, inbox)
    before = (inbox / NAME).stat()
    again = deliver(file, inbox)
    assert again.kept_bytes == again.bytes
    assert (inbox / NAME).stat() == before


def test_real_chunks_are_a_mebibyte(file, inbox):
    assert CHUNK_BYTES == 2**20
    file.write_bytes(AGE_MAGIC + os.urandom(2 * CHUNK_BYTES + 5))
    deliver(file, inbox)
    assert (inbox / NAME).read_bytes() == file.read_bytes()


@UNHURRIED
@given(cut=st.integers(0, len(CONTENT)))
def test_killed_anywhere_it_goes_on_from_there(file, inbox, small, cut):
    for path in inbox.iterdir():
        path.unlink()

    def kill(done, total):
        if done >= cut:
            raise Killed

    with pytest.raises(Killed):
        deliver(file, inbox, on_bytes=kill)
    assert names(inbox) == [part_of(file, inbox).name]
    done = deliver(file, inbox)
    assert names(inbox) == [NAME]
    assert (inbox / NAME).read_bytes() == CONTENT
    assert done.kept_bytes == min(len(CONTENT), max(100, -(-cut // 100) * 100))


@UNHURRIED
@given(length=st.integers(0, 2 * len(CONTENT)), wrong=st.none() | st.integers(0, len(CONTENT) - 1))
def test_whatever_the_part_holds_the_file_is_right(file, inbox, small, length, wrong):
    for path in inbox.iterdir():
        path.unlink()
    there = bytearray((CONTENT + CONTENT)[:length])
    if wrong is not None and wrong < length:
        there[wrong] ^= 1
    part_of(file, inbox).write_bytes(there)
    done = deliver(file, inbox)
    assert (inbox / NAME).read_bytes() == CONTENT
    right = min(length, len(CONTENT)) if wrong is None else min(length, wrong, len(CONTENT))
    assert done.kept_bytes == (right if right == len(CONTENT) else right // 100 * 100)


def test_another_file_of_the_name_is_never_touched(file, inbox):
    (inbox / NAME).write_bytes(b"precious")
    with pytest.raises(StorageError, match="found another file of this name. It was not touched"):
        deliver(file, inbox)
    assert (inbox / NAME).read_bytes() == b"precious"
    assert names(inbox) == [NAME]


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "dangling"])
def test_other_things_of_the_name_are_never_touched(file, inbox, tmp_path, kind):
    target = inbox / NAME
    if kind == "folder":
        target.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to(file if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(StorageError, match="found another file of this name"):
        deliver(file, inbox)


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_takes_the_name_meanwhile_keeps_it(file, inbox, small, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr(os, "link", refusing(errno.EPERM))

    def intrude(done, total):
        (inbox / NAME).write_bytes(b"precious")

    with pytest.raises(StorageError, match="It was not touched"):
        deliver(file, inbox, on_bytes=intrude)
    assert (inbox / NAME).read_bytes() == b"precious"


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_folder_without_hard_links_will_do(file, inbox, monkeypatch):
    monkeypatch.setattr(os, "link", refusing(errno.EOPNOTSUPP))
    deliver(file, inbox)
    assert names(inbox) == [NAME]


def test_a_share_without_locks_will_do(file, inbox, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    deliver(file, inbox)
    assert names(inbox) == [NAME]


@pytest.mark.parametrize(
    ("place", "number"), [("link", errno.EIO), ("flock", errno.EIO), ("fsync", errno.EIO)]
)
def test_other_faults_of_the_disk_end_in_a_line(file, inbox, monkeypatch, place, number):
    monkeypatch.setattr(fcntl if place == "flock" else os, place, refusing(number))
    with pytest.raises(StorageError, match="found Input/output error. See to it, and run the same"):
        deliver(file, inbox)
    monkeypatch.undo()
    deliver(file, inbox)
    assert names(inbox) == [NAME]


def test_a_full_disk_ends_in_a_line_and_the_copy_goes_on(file, inbox, small, monkeypatch):
    usual, room = envoi.submission.delivery._write, 1000

    def write(copy, start, chunk):
        if start + len(chunk) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        usual(copy, start, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(envoi.submission.delivery, "_write", write)
        with pytest.raises(StorageError) as caught:
            deliver(file, inbox)
    assert str(caught.value) == (
        f"{NAME}: expected a folder that takes the file, found a full disk. Free some space "
        "there and run the same command again; it goes on from what is there."
    )
    assert part_of(file, inbox).stat().st_size == 1000
    assert deliver(file, inbox).kept_bytes == 1000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_share_that_finds_itself_full_at_the_end(file, inbox, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", refusing(number))
    with pytest.raises(StorageError, match="found a full disk"):
        deliver(file, inbox)
    assert names(inbox) == [part_of(file, inbox).name]


def test_a_copy_that_is_damaged_meanwhile_is_found_and_made_good(file, inbox, small):
    def damage(done, total):
        if done == total:
            with part_of(file, inbox).open("r+b") as part:
                part.seek(250)
                part.write(b"?")

    with pytest.raises(StorageError, match="found other bytes in the copy"):
        deliver(file, inbox, on_bytes=damage)
    assert not (inbox / NAME).exists()
    assert deliver(file, inbox).kept_bytes == 200
    assert (inbox / NAME).read_bytes() == CONTENT


def test_a_file_that_changes_meanwhile_is_not_delivered(file, inbox, small):
    def change(done, total):
        if done == 100:
            with file.open("r+b") as source:
                source.seek(500)
                source.write(b"?")

    with pytest.raises(StorageError, match="The file or the medium changed meanwhile"):
        deliver(file, inbox, on_bytes=change)
    assert not (inbox / NAME).exists()


@pytest.mark.parametrize("size", [50, len(CONTENT) + 50])
def test_a_file_that_changes_its_size_is_not_delivered(file, inbox, small, size):
    def change(done, total):
        os.truncate(file, size)

    with pytest.raises(SubmissionError, match=r"a file that became (shorter|longer)"):
        deliver(file, inbox, on_bytes=change)
    assert not (inbox / NAME).exists()


def test_two_deliveries_do_not_mix(file, inbox):
    with part_of(file, inbox).open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another delivery of this file under way"):
            deliver(file, inbox)
    deliver(file, inbox)


def test_a_part_of_another_file_stays(file, inbox):
    other = inbox / f"{NAME}.{'0' * 16}.part"
    other.write_bytes(b"precious")
    deliver(file, inbox)
    assert other.read_bytes() == b"precious"


def test_a_leftover_part_goes_when_the_file_is_there(file, inbox):
    deliver(file, inbox)
    part_of(file, inbox).write_bytes(CONTENT[:10])
    deliver(file, inbox)
    assert names(inbox) == [NAME]


def test_a_link_in_place_of_the_part_is_not_followed(file, inbox, tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    part_of(file, inbox).symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError, match="a folder that takes the file"):
        deliver(file, inbox)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_pipe_in_place_of_the_part_is_told(file, inbox):
    os.mkfifo(part_of(file, inbox))
    with pytest.raises(StorageError, match="a regular file as the unfinished copy|takes the file"):
        deliver(file, inbox)


@pytest.mark.parametrize(
    "content", [b"", b"name,birth\nDoe,1970\n", b"-----BEGIN PRIVATE KEY-----"]
)
def test_nothing_but_what_sites_send_is_delivered(inbox, tmp_path, content):
    (tmp_path / "patients.csv").write_bytes(content)
    with pytest.raises(SubmissionError, match="a submission or a withdrawal notice, found another"):
        deliver(tmp_path / "patients.csv", inbox)
    assert names(inbox) == []


@pytest.mark.parametrize("name", [".hidden", "x.part", "x.TMP", "x~"])
def test_names_that_the_server_passes_over_are_refused(inbox, tmp_path, name):
    (tmp_path / name).write_bytes(CONTENT)
    with pytest.raises(SubmissionError, match="one that the server passes over"):
        deliver(tmp_path / name, inbox)


def test_places_that_are_missing_are_told(file, inbox, tmp_path):
    with pytest.raises(StorageError, match="expected a folder, found nothing. Connect the share"):
        deliver(file, tmp_path / "mnt")
    with pytest.raises(StorageError, match="expected a folder, found a file of that name"):
        deliver(file, file)
    with pytest.raises(SubmissionError, match="No such file"):
        deliver(tmp_path / "nothing", inbox)


def test_a_folder_that_cannot_be_read_is_told(file, inbox, monkeypatch):
    (inbox / NAME).write_bytes(b"x")
    monkeypatch.setattr(envoi.submission.delivery, "file_digest", refusing(errno.EIO))
    with pytest.raises(StorageError, match="Input/output error"):
        deliver(file, inbox)


def test_a_submission_and_a_notice_are_delivered(forge, study, key, inbox, tmp_path):
    submission = forge.path(forge.file(), "north-7.safetensors")
    notice = tmp_path / "north-7.withdrawal.json"
    write_withdrawal(notice, study=study, site="north", sequence=7, key=key)
    for file in (submission, notice):
        assert Path(deliver(file, inbox).path).read_bytes() == file.read_bytes()
