import builtins
import io
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envoi.errors import MissingExtraError, StorageError
from envoi.submission.encryption import (
    NotDecryptedError,
    decrypt,
    encrypt_file,
    encrypted_limit,
    generate_identity,
    load_identity,
    require_age,
    save_identity,
)

pyrage = pytest.importorskip("pyrage")
quick = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def identity():
    return generate_identity()


def encrypted(folder, content, identity):
    (folder / "plain").write_bytes(content)
    encrypt_file(folder / "plain", folder / "file.age", identity.recipient)
    return (folder / "file.age").read_bytes()


def opened(content, identity, limit=10**7):
    sink = io.BytesIO()
    decrypt(io.BytesIO(content), sink, identity, limit=limit)
    return sink.getvalue()


@quick
@given(size=st.sampled_from([0, 1, 65535, 65536, 65537, 200_000]), seed=st.binary(max_size=8))
def test_round_trip_and_size(tmp_path, identity, size, seed):
    content = (seed + b"x" * size)[:size]
    hidden = encrypted(tmp_path, content, identity)
    assert opened(hidden, identity, size) == content
    assert size < len(hidden) <= encrypted_limit(size)
    assert size < 16 or content[:16] not in hidden


def test_other_age_programs_read_it_and_are_read(tmp_path, identity):
    save_identity(tmp_path / "age.key", identity)
    secret = (tmp_path / "age.key").read_text().splitlines()[1]
    hidden = encrypted(tmp_path, b"weights", identity)
    assert pyrage.decrypt(hidden, [pyrage.x25519.Identity.from_str(secret)]) == b"weights"
    recipient = pyrage.x25519.Recipient.from_str(identity.recipient)
    assert opened(pyrage.encrypt(b"weights", [recipient]), identity) == b"weights"


def test_another_key_reads_nothing(tmp_path, identity):
    hidden = encrypted(tmp_path, b"weights" * 1000, identity)
    with pytest.raises(NotDecryptedError, match="found one for another key. Ask the site"):
        opened(hidden, generate_identity())


@quick
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_is_refused(tmp_path, identity, part):
    hidden = encrypted(tmp_path, os.urandom(150_000), identity)
    with pytest.raises(NotDecryptedError, match="changed or cut on its way. Copy the file again"):
        opened(hidden[: int(part * len(hidden))], identity)


@quick
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused(tmp_path, identity, place, flip):
    hidden = bytearray(encrypted(tmp_path, os.urandom(3000), identity))
    hidden[int(place * len(hidden))] ^= flip
    with pytest.raises(NotDecryptedError):
        opened(bytes(hidden), identity)


def test_bytes_behind_the_end_are_refused(tmp_path, identity):
    with pytest.raises(NotDecryptedError):
        opened(encrypted(tmp_path, b"weights", identity) + b"x", identity)


def test_growth_is_bounded(tmp_path, identity):
    hidden = encrypted(tmp_path, bytes(500_000), identity)
    sink = io.BytesIO()
    with pytest.raises(NotDecryptedError, match="holds more than a submission"):
        decrypt(io.BytesIO(hidden), sink, identity, limit=499_999)
    assert len(sink.getvalue()) < 500_000


def test_a_full_disk_is_not_taken_for_a_bad_file(tmp_path, identity):
    class Full:
        def write(self, content):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        decrypt(io.BytesIO(encrypted(tmp_path, b"x", identity)), Full(), identity, limit=9)


def test_a_passphrase_costs_nothing(identity):
    hidden = pyrage.passphrase.encrypt(b"weights", "open")
    with pytest.raises(NotDecryptedError):
        opened(hidden, identity)


def test_an_identity_is_saved_once_and_for_its_owner(tmp_path, identity):
    path = tmp_path / "age.key"
    save_identity(path, identity)
    assert load_identity(path).recipient == identity.recipient
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(StorageError, match="one that a new key would destroy"):
        save_identity(path, generate_identity())
    assert "SECRET" not in repr(identity)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one age identity, found something else"),
        ("# only a comment\n", "one age identity, found something else"),
        ("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", "something else"),
        ("AGE-SECRET-KEY-1XXX", "an age identity, found a damaged one"),
        ("AGE-SECRET-KEY-1A\nAGE-SECRET-KEY-1B", "one age identity, found something else"),
    ],
)
def test_files_that_hold_no_identity(tmp_path, text, message):
    (tmp_path / "age.key").write_text(text)
    with pytest.raises(StorageError, match=message) as caught:
        load_identity(tmp_path / "age.key")
    assert "SECRET" not in str(caught.value)
    with pytest.raises(StorageError, match="an age identity, found No such file"):
        load_identity(tmp_path / "nothing")


def test_without_the_extra_a_line_names_it(tmp_path, monkeypatch):
    usual = builtins.__import__

    def without(name, *rest, **more):
        if name == "pyrage":
            raise ImportError(name)
        return usual(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    jobs = (
        require_age,
        generate_identity,
        lambda: load_identity(tmp_path / "x"),
        lambda: encrypt_file(tmp_path / "x", tmp_path / "y", "age1"),
    )
    for job in jobs:
        with pytest.raises(MissingExtraError, match=r"pip install '.\[age\]'"):
            job()


def test_a_disk_that_fills_leaves_no_half_of_a_file(tmp_path, identity, monkeypatch):
    (tmp_path / "plain").write_bytes(b"x" * 1000)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        encrypt_file(tmp_path / "plain", tmp_path / "out.age", identity.recipient)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]
