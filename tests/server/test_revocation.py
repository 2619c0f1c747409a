import json
from datetime import UTC, datetime, timedelta

import pytest

import envoi.server.collect
from envoi.errors import SettingsError, StudyError
from envoi.server.collect import State, collect, load_ledger, restore, revoke, standing
from envoi.submission import fingerprint
from envoi.submission.receipt import Cause
from tests.server.sending import STUDY, Killed, send, study_of, take_back


def copies(folder):
    return sorted(path.name for path in (folder / "accepted").glob("*"))


def seen(ledger):
    return {entry.file: (entry.state.value, entry.cause) for entry in ledger.entries}


def test_all_that_the_site_sent_is_withdrawn_and_what_it_sends_is_refused(inbox, folder):
    send(inbox / "a", "north", 1)
    send(inbox / "b", "north", 2)
    send(inbox / "c", "south", 1)
    collect(inbox, folder, study=STUDY)
    ledger = revoke(folder, "north", reason="the key\nwas stolen", study=STUDY)
    assert ledger == load_ledger(folder)
    assert copies(folder) == ["south-1.safetensors"]
    (past,) = ledger.revoked
    assert (past.site, past.reason) == ("north", "the key was stolen")
    assert past.fingerprint == fingerprint(STUDY.sites["north"])
    assert seen(ledger) == {
        "a": ("withdrawn", Cause.REVOKED),
        "b": ("withdrawn", Cause.REVOKED),
        "c": ("received", None),
    }
    send(inbox / "d", "north", 3)
    send(inbox / "e", "north", 1, counts=(90, 90))
    take_back(inbox / "n.withdrawal.json", "north", 3)
    ledger = collect(inbox, folder, study=STUDY)
    for name in ("d", "e", "n.withdrawal.json"):
        assert seen(ledger)[name] == ("refused", Cause.REVOKED)
    entry = next(entry for entry in ledger.entries if entry.file == "d")
    assert entry.reason.startswith(
        "expected a key that is valid, found that of north, revoked on 20"
    )
    assert "stolen" not in entry.reason
    assert collect(inbox, folder, study=STUDY) == ledger
    now = standing(ledger, STUDY)
    assert (now.received, now.missing) == (("south",), ("west",))


def test_a_site_can_be_revoked_before_it_sends(inbox, folder):
    revoke(folder, "north", reason="left the study", study=STUDY)
    send(inbox / "a", "north", 1)
    assert seen(collect(inbox, folder, study=STUDY)) == {"a": ("refused", Cause.REVOKED)}


def test_late_files_do_not_come_back_through_late(inbox, folder):
    study = study_of(deadline=datetime.now(UTC) - timedelta(days=1))
    send(inbox / "a", "north", study=study)
    collect(inbox, folder, study=study)
    revoke(folder, "north", reason="stolen", study=study)
    assert seen(collect(inbox, folder, study=study, late=True)) == {"a": ("refused", Cause.REVOKED)}


def test_twice_is_once(inbox, folder):
    send(inbox / "a", "north", 1)
    collect(inbox, folder, study=STUDY)
    first = revoke(folder, "north", reason="stolen", study=STUDY)
    assert revoke(folder, "north", reason="again", study=STUDY) == first


def test_a_kill_before_the_copies_are_deleted_is_made_good(inbox, folder, monkeypatch):
    send(inbox / "a", "north", 1)
    collect(inbox, folder, study=STUDY)
    usual, calls = envoi.server.collect._sweep, 0

    def kill(*args):
        nonlocal calls
        calls += 1
        if calls > 1:
            raise Killed
        usual(*args)

    with monkeypatch.context() as patch:
        patch.setattr(envoi.server.collect, "_sweep", kill)
        with pytest.raises(Killed):
            revoke(folder, "north", reason="stolen", study=STUDY)
    assert copies(folder) == ["north-1.safetensors"]
    collect(inbox, folder, study=STUDY)
    assert copies(folder) == []


def test_a_mistake_can_be_undone(inbox, folder):
    send(inbox / "a", "north", 1)
    send(inbox / "b", "north", 2)
    collect(inbox, folder, study=STUDY)
    revoke(folder, "north", reason="a slip", study=STUDY)
    send(inbox / "c", "north", 3)
    collect(inbox, folder, study=STUDY)
    ledger = restore(folder, "north", study=STUDY)
    assert ledger.revoked == ()
    assert {entry.state for entry in ledger.entries} == {State.WITHDRAWN, State.REFUSED}
    ledger = collect(inbox, folder, study=STUDY)
    assert seen(ledger) == {
        "a": ("withdrawn", Cause.REVOKED),
        "b": ("superseded", Cause.NEWER),
        "c": ("received", None),
    }
    assert collect(inbox, folder, study=STUDY) == ledger


def test_undone_it_brings_nothing_back_that_the_site_withdrew(inbox, folder):
    send(inbox / "a", "north", 1)
    take_back(inbox / "n.withdrawal.json", "north", 1)
    collect(inbox, folder, study=STUDY)
    revoke(folder, "north", reason="a slip", study=STUDY)
    restore(folder, "north", study=STUDY)
    assert seen(collect(inbox, folder, study=STUDY))["a"] == ("withdrawn", Cause.BY_SITE)


def test_what_cannot_be_revoked_is_told(inbox, folder):
    collect(inbox, folder, study=STUDY)
    with pytest.raises(StudyError, match=r"expected one of north, south, west, found no\?body"):
        revoke(folder, "no\x1bbody", reason="x", study=STUDY)
    with pytest.raises(SettingsError, match="--reason: expected a reason, found none"):
        revoke(folder, "north", reason=" \n", study=STUDY)
    with pytest.raises(StudyError, match=r"expected one of \(none\), found north"):
        restore(folder, "north", study=STUDY)
    other = study_of(minimum_sites=1)
    for job in (
        lambda: revoke(folder, "north", reason="x", study=other),
        lambda: restore(folder, "north", study=other),
    ):
        with pytest.raises(StudyError, match="start a new folder"):
            job()


def test_a_ledger_from_before_revocations_is_read(inbox, folder):
    send(inbox / "a", "north", 1)
    collect(inbox, folder, study=STUDY)
    document = json.loads((folder / "ledger.json").read_text())
    del document["revoked"]
    for entry in document["entries"]:
        for name in ("content", "cause", "time", "notice"):
            del entry[name]
    (folder / "ledger.json").write_text(json.dumps(document))
    assert load_ledger(folder).revoked == ()
    ledger = revoke(folder, "north", reason="stolen", study=STUDY)
    assert copies(folder) == []
    assert seen(ledger) == {"a": ("withdrawn", Cause.REVOKED)}
