import os
import stat

import pytest

import envoi.server.arrival
import envoi.server.incoming
from envoi.errors import StorageError, StudyError
from envoi.server.collect import State, accepted, collect
from envoi.server.outbox import Outbox
from envoi.submission import public_text, save_key, submission_bytes
from envoi.submission.encryption import encrypt_file, encrypted_limit, generate_identity
from envoi.submission.receipt import Cause
from envoi.submission.receipt_check import check_receipt
from tests.server.sending import KEYS, SERVER, Killed, send, study_of, take_back

pytest.importorskip("pyrage")
IDENTITY = generate_identity()
STUDY = study_of(server={"receipts": public_text(SERVER), "encryption": IDENTITY.recipient})


def hide(path, site, sequence=1, *, recipient=IDENTITY.recipient, **more):
    """Write an encrypted submission; the plain bytes are returned."""
    plain = path.parent.parent / "plain"
    whole = send(plain, site, sequence, study=STUDY, **more)
    encrypt_file(plain, path, recipient)
    plain.unlink()
    return whole


def take(inbox, folder, **more):
    return collect(inbox, folder, study=STUDY, identity=IDENTITY, **more)


def seen(ledger):
    return {entry.file: (entry.state.value, entry.cause) for entry in ledger.entries}


def files(folder):
    """What lies in the server's folder, but for ledger and lock."""
    found = [p for p in folder.rglob("*") if p.is_file()]
    return sorted(p.name for p in found if p.name not in {"ledger.json", ".lock"})


def test_an_encrypted_file_counts_and_its_copy_is_plain(inbox, folder):
    whole = hide(inbox / "north-1.safetensors.age", "north", counts=(20, 40))
    ledger = take(inbox, folder)
    assert seen(ledger) == {"north-1.safetensors.age": ("received", None)}
    copy = folder / "accepted" / "north-1.safetensors"
    assert copy.read_bytes() == whole
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert files(folder) == ["north-1.safetensors"]
    assert [sent.class_counts for sent in accepted(folder, study=STUDY)] == [(20, 40)]
    assert take(inbox, folder) == ledger


def test_its_receipt_names_the_bytes_that_the_site_sent(inbox, folder, tmp_path):
    sent = inbox / "north-1.safetensors.age"
    hide(sent, "north")
    take(inbox, folder, outbox=Outbox(tmp_path / "outbox", SERVER))
    path = tmp_path / "outbox" / "north-1.receipt.json"
    found = check_receipt(path, study=STUDY, file=sent, site="north", sequence=1)
    assert found.bytes == sent.stat().st_size


def test_any_name_will_do(inbox, folder):
    hide(inbox / "upload.bin", "north")
    assert seen(take(inbox, folder)) == {"upload.bin": ("received", None)}


def test_plain_files_are_taken_beside_encrypted_ones(inbox, folder):
    hide(inbox / "a.age", "north")
    send(inbox / "b", "south", study=STUDY)
    take_back(inbox / "n.withdrawal.json", "north", 1, study=STUDY)
    ledger = take(inbox, folder)
    assert [entry.site for entry in ledger.current()] == ["south"]
    assert files(folder) == ["south-1.safetensors"]


@pytest.mark.parametrize("is_plain_first", [True, False])
def test_the_same_content_counts_once(inbox, folder, is_plain_first):
    first, second = ("a", "b.age") if is_plain_first else ("b", "a.age")
    whole = hide(inbox / (second if is_plain_first else "a.age"), "north")
    (inbox / first).write_bytes(whole)
    ledger = take(inbox, folder)
    assert len(ledger.entries) == 1
    (line,) = ledger.ignored
    wanted = "b.age: the same content as a" if is_plain_first else "b: the same bytes as a.age"
    assert line == wanted
    assert take(inbox, folder) == ledger
    assert files(folder) == ["north-1.safetensors"]


def test_encrypted_twice_it_counts_once(inbox, folder):
    hide(inbox / "a.age", "north")
    hide(inbox / "b.age", "north")
    assert (inbox / "a.age").read_bytes() != (inbox / "b.age").read_bytes()
    ledger = take(inbox, folder)
    assert seen(ledger) == {"a.age": ("received", None)}
    assert ledger.ignored == ("b.age: the same content as a.age",)


def test_without_the_identity_it_waits(inbox, folder):
    hide(inbox / "a.age", "north")
    ledger = collect(inbox, folder, study=STUDY)
    assert ledger.entries == ()
    assert ledger.ignored == (
        "a.age: an encrypted file: give the server's identity with --identity",
    )
    assert seen(take(inbox, folder)) == {"a.age": ("received", None)}


def test_in_a_study_without_a_key_it_waits_for_good(inbox, folder):
    hide(inbox / "a.age", "north")
    ledger = collect(inbox, folder, study=study_of())
    assert ledger.ignored == ("a.age: an encrypted file, and the study names no key to encrypt to",)


def test_an_identity_that_is_not_the_studys_is_told_before_any_work(inbox, folder):
    hide(inbox / "a.age", "north")
    with pytest.raises(StudyError, match=f"expected the identity of {IDENTITY.recipient}, found"):
        collect(inbox, folder, study=STUDY, identity=generate_identity())
    with pytest.raises(StudyError, match="expected no identity: the study names no key"):
        collect(inbox, folder, study=study_of(), identity=IDENTITY)
    assert not folder.exists()


def damaged(path, kind):
    content = path.read_bytes()
    if kind == "foreign":
        hide(path, "north", recipient=generate_identity().recipient)
    elif kind == "cut":
        path.write_bytes(content[:-40])
    elif kind == "header":
        path.write_bytes(content[:100])
    elif kind == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif kind == "longer":
        path.write_bytes(content + b"x")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("foreign", "found one for another key. Ask the site to compare its study"),
        ("cut", "found one that was changed or cut on its way. Copy the file again."),
        ("header", "changed or cut on its way"),
        ("flipped", "changed or cut on its way"),
        ("longer", "changed or cut on its way"),
    ],
)
def test_what_cannot_be_decrypted_is_refused_and_leaves_nothing(inbox, folder, kind, message):
    hide(inbox / "a.age", "north")
    damaged(inbox / "a.age", kind)
    ledger = take(inbox, folder)
    assert seen(ledger) == {"a.age": ("refused", Cause.ENCRYPTION)}
    assert message in ledger.entries[0].reason
    assert files(folder) == []
    assert take(inbox, folder) == ledger
    hide(inbox / "a.age", "north")
    assert take(inbox, folder).current()


def test_a_plain_file_under_a_name_that_says_otherwise_is_refused(inbox, folder):
    whole = send(inbox / "a.age", "north", study=STUDY)
    ledger = take(inbox, folder)
    assert seen(ledger) == {"a.age": ("refused", Cause.ENCRYPTION)}
    assert ledger.entries[0].reason == (
        "expected an encrypted file, as its name says, found one that is not encrypted. Tell the "
        "site that whoever carried it could read it; under a name without .age it is taken."
    )
    assert take(inbox, folder) == ledger
    (inbox / "a.age").rename(inbox / "a")
    assert seen(take(inbox, folder)) == {"a": ("received", None)}
    assert (folder / "accepted" / "north-1.safetensors").read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"age-enc", bytes(500)])
def test_an_unfinished_copy_is_to_be_copied_again(inbox, folder, content):
    (inbox / "a.age").write_bytes(content)
    (entry,) = take(inbox, folder).entries
    assert entry.reason.endswith("found the beginning of one. Copy the file again.")


def test_a_private_key_is_told_under_any_name(inbox, folder):
    save_key(inbox / "a.age", KEYS["north"])
    (entry,) = take(inbox, folder).entries
    assert "found a private key. Delete it from here" in entry.reason


@pytest.mark.parametrize("plain", [b"hello", b"-----BEGIN PRIVATE KEY-----", os.urandom(500)])
def test_what_is_inside_is_judged_like_any_file(inbox, folder, tmp_path, plain):
    (tmp_path / "plain").write_bytes(plain)
    encrypt_file(tmp_path / "plain", inbox / "a.age", IDENTITY.recipient)
    ledger = take(inbox, folder)
    assert seen(ledger) == {"a.age": ("refused", Cause.NO_SUBMISSION)}
    assert files(folder) == []


def test_more_than_any_submission_is_refused_by_size(inbox, folder, tmp_path, monkeypatch):
    limit = submission_bytes(STUDY, "resnet10-small")
    (tmp_path / "plain").write_bytes(bytes(limit + 1))
    encrypt_file(tmp_path / "plain", inbox / "a.age", IDENTITY.recipient)
    (entry,) = take(inbox, folder).entries
    assert "found one that holds more than a submission" in entry.reason
    with (inbox / "b.age").open("wb") as file:
        file.write((inbox / "a.age").read_bytes())
        file.truncate(1 << 40)
    monkeypatch.setattr(envoi.server.arrival, "decrypted", None)
    entry = take(inbox, folder).entries[-1]
    wanted = f"expected at most {encrypted_limit(limit)} bytes, found {1 << 40} bytes, too many"
    assert entry.reason.startswith(wanted)
    assert files(folder) == []


@pytest.mark.parametrize("function", ["save_ledger", "open_submission", "_move"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Killed()])
def test_no_plain_bytes_stay_behind_an_error(inbox, folder, monkeypatch, function, error):
    hide(inbox / "a.age", "north")

    def fail(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(envoi.server.arrival, function, fail)
        if isinstance(error, Killed):
            with pytest.raises(Killed):
                take(inbox, folder)
        else:
            take(inbox, folder)
    assert [name for name in files(folder) if name != "north-1.safetensors"] == []
    assert list((folder / ".incoming").iterdir()) == []
    assert take(inbox, folder).current()


def test_a_disk_that_fills_while_decrypting(inbox, folder, monkeypatch):
    hide(inbox / "a.age", "north")
    take(inbox, folder)
    hide(inbox / "b.age", "south")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(envoi.server.incoming, "decrypt", full)
        with pytest.raises(StorageError, match="found No space left on device. Make room"):
            take(inbox, folder)
    assert files(folder) == ["north-1.safetensors"]
    assert len(take(inbox, folder).current()) == 2


def test_a_lost_copy_is_restored_from_the_encrypted_file(inbox, folder):
    whole = hide(inbox / "a.age", "north")
    take(inbox, folder)
    copy = folder / "accepted" / "north-1.safetensors"
    copy.write_bytes(b"damaged")
    ledger = take(inbox, folder)
    assert copy.read_bytes() == whole
    assert [entry.state for entry in ledger.entries] == [State.RECEIVED]
