"""Pseudonyms: the same for the same under one key, and of no use without it."""

import copy
import errno
import hashlib
import hmac
import os
import re
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envoi.data.dicom.pseudonyms import Pseudonyms, load_pseudonym_key, new_pseudonym_key
from envoi.errors import StorageError

KEY = bytes(range(32))
NAMES = Pseudonyms(KEY)
quick = settings(deadline=None, max_examples=50)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=64)


@quick
@given(TEXT)
def test_each_kind_has_the_form_of_its_attribute(text):
    assert re.fullmatch(r"2\.25\.(0|[1-9][0-9]{0,38})", NAMES.uid(text))
    assert re.fullmatch(r"[0-9a-f]{32}", NAMES.patient(text))
    assert re.fullmatch(r"[A-Z2-7]{16}", NAMES.accession(text))


@quick
@given(TEXT, TEXT)
def test_different_originals_have_different_pseudonyms_and_padding_is_none(one, other):
    same = one.strip(" ") == other.strip(" ")
    assert (NAMES.uid(one) == NAMES.uid(other)) is same
    assert (NAMES.patient(one) == NAMES.patient(other)) is same
    assert (NAMES.accession(one) == NAMES.accession(other)) is same
    assert NAMES.uid(one) == NAMES.uid(f" {one}\0") == Pseudonyms(KEY).uid(one)


@quick
@given(TEXT, TEXT)
def test_an_issuer_and_an_id_are_not_confused(issuer, number):
    whole = NAMES.patient(issuer + number)
    assert (NAMES.patient(number, issuer) == whole) is (
        not issuer.strip(" ") and number.strip(" ") == (issuer + number).strip(" ")
    )


def test_they_are_hmac_sha256_and_stay_so():
    found = hmac.new(KEY, b"uid\x001.2.3", hashlib.sha256).digest()
    assert NAMES.uid("1.2.3") == f"2.25.{int.from_bytes(found[:16])}"
    found = hmac.new(KEY, b"patient\0issuer\x00p1", hashlib.sha256).digest()
    assert NAMES.patient("p1", "issuer") == found[:16].hex()
    assert NAMES.uid("1.2.3") == "2.25.323208961630152073077901537594917788276"
    assert NAMES.patient("p1") == "b26a54a3f161fafc6de85ae4b8e7339f"
    assert NAMES.accession("A1") == "S6TMA7WRPTELYRTO"


def test_kinds_and_keys_are_apart():
    assert NAMES.patient("1") != NAMES.other("patient", "1") != NAMES.other("name", "1")
    assert Pseudonyms(bytes(32)).patient("1") != NAMES.patient("1")
    assert Pseudonyms(bytes(32)).fingerprint != NAMES.fingerprint


def test_neither_a_repr_nor_a_copy_shows_the_key():
    assert repr(NAMES) == "Pseudonyms()"
    assert KEY.hex() not in str(copy.copy(NAMES))
    with pytest.raises(StorageError, match="expected 32 bytes, found 5"):
        Pseudonyms(b"short")


def test_a_key_is_read_back_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "new" / "site.key"
    made = new_pseudonym_key(path)
    assert load_pseudonym_key(path) == made != new_pseudonym_key(tmp_path / "other.key")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["site.key"]


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "site.key"
    path.write_text("old")
    with pytest.raises(StorageError, match="site.key: expected a new file.*keep the old one"):
        new_pseudonym_key(path)
    with pytest.raises(StorageError, match="a new file"):
        new_pseudonym_key(tmp_path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["site.key"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device. Free some space."):
        new_pseudonym_key(tmp_path / "site.key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "envoi-pseudonyms-1 12\n", "0" * 64, "\xff" * 100])
def test_another_file_is_told(text, tmp_path):
    path = tmp_path / "site.key"
    path.write_text(text, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(StorageError, match="expected a key of pseudonyms, found something else"):
        load_pseudonym_key(path)


def test_a_key_that_is_missing_or_open_to_all_is_refused(tmp_path):
    path = tmp_path / "site.key"
    with pytest.raises(StorageError, match="No such file.*envoi data keygen"):
        load_pseudonym_key(path)
    new_pseudonym_key(path)
    path.chmod(0o644)
    with pytest.raises(StorageError, match="everybody may read. Run: chmod 600 site.key"):
        load_pseudonym_key(path)
