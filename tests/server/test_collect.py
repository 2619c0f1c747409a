import json
import os
import threading
from datetime import UTC, datetime, timedelta

import pytest
import torch
from safetensors.torch import save_file

import envoi.server.arrival
import envoi.server.collect
import envoi.server.ledger
from envoi.errors import StorageError, StudyError
from envoi.server.collect import (
    Retry,
    State,
    accepted,
    collect,
    load_ledger,
    standing,
    withdraw,
)
from envoi.study import study_from
from envoi.submission import (
    Release,
    TrainingCard,
    generate_key,
    public_text,
    save_key,
    submission_bytes,
    write_submission,
    write_withdrawal,
)

KEYS = {site: generate_key() for site in ("north", "south", "west")}
CLASSES = ("a", "b")
SIZE = (
    "Copy the file again; if its size stays, it belongs to another study: compare digests with "
    "the site (`envoi study check`)."
)


class Killed(BaseException):
    """Stands for a kill: no handler of the library may catch it."""


def study_of(**changes):
    return study_from(
        {
            "name": "Cells",
            "classes": list(CLASSES),
            "minimum_sites": 2,
            "image": {"channels": 1, "size_px": 8},
            "model": {"architectures": ["resnet10-small"], "weight_format": "int8"},
            "sites": {site: public_text(key) for site, key in KEYS.items()},
            **changes,
        }
    )


STUDY = study_of()


@pytest.fixture
def inbox(tmp_path):
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "server"


def send(path, site, sequence=1, *, study=STUDY, counts=(20, 30)):
    """Write the submission of `site` to `path`."""
    state = study.network().state_dict()
    release = Release(
        architecture="resnet10-small",
        state={name: tensor for name, tensor in state.items() if tensor.dim()},
        class_counts=counts,
        card=TrainingCard(epochs=1, images=sum(counts)),
    )
    write_submission(path, release, study=study, site=site, sequence=sequence, key=KEYS[site])
    return path.read_bytes()


def take_back(path, site, sequence):
    write_withdrawal(path, study=STUDY, site=site, sequence=sequence, key=KEYS[site])


def seen(ledger):
    return {(entry.file, entry.sequence): entry.state.value for entry in ledger.entries}


def copies(folder):
    return sorted(path.name for path in (folder / "accepted").glob("*"))


def content(folder):
    """All files of the server's folder but the lock, with their bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_good_files_are_received_under_any_name_and_bad_ones_refused(inbox, folder):
    wanted = send(inbox / "final FINAL (2).bin", "north")
    send(inbox / "north.safetensors", "south")
    (inbox / "notes.txt").write_text("hello")
    ledger = collect(inbox, folder, study=STUDY)
    assert [(e.site, e.file) for e in ledger.current()] == [
        ("north", "final FINAL (2).bin"),
        ("south", "north.safetensors"),
    ]
    assert copies(folder) == ["north-1.safetensors", "south-1.safetensors"]
    assert (folder / "accepted" / "north-1.safetensors").read_bytes() == wanted
    refused = next(entry for entry in ledger.entries if entry.state is State.REFUSED)
    assert (refused.file, refused.site, refused.bytes) == ("notes.txt", None, 5)
    assert refused.reason.startswith("expected a submission, found no submission but text. Take")
    assert "notes.txt" not in refused.reason
    now = standing(ledger, STUDY)
    assert (now.received, now.missing, now.ready) == (("north", "south"), ("west",), True)


def test_each_file_is_told_once_it_is_judged(inbox, folder):
    for number in range(3):
        send(inbox / f"{number}", "north", sequence=number)
    told = []

    def on_step(info):
        told.append((info.phase, info.step, info.steps))
        if info.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(inbox, folder, study=STUDY, on_step=on_step)
    assert told == [("collect", 1, 3), ("collect", 2, 3)]
    counted = {entry.sequence for entry in load_ledger(folder).entries}
    assert counted == {0, 1}
    assert len(collect(inbox, folder, study=STUDY).entries) == 3


def test_accepted_streams_what_counts_by_site(inbox, folder):
    send(inbox / "1", "south", counts=(11, 12))
    send(inbox / "2", "north", counts=(21, 22))
    collect(inbox, folder, study=STUDY)
    found = [(sent.site, sent.class_counts) for sent in accepted(folder, study=STUDY)]
    assert found == [("north", (21, 22)), ("south", (11, 12))]


def test_twice_changes_nothing(inbox, folder):
    send(inbox / "a", "north")
    (inbox / "b").write_text("no submission")
    take_back(inbox / "c.withdrawal.json", "south", 3)
    first = collect(inbox, folder, study=STUDY)
    before = content(folder)
    assert collect(inbox, folder, study=STUDY) == first
    assert content(folder) == before


def test_the_inbox_is_not_changed(inbox, folder):
    send(inbox / "a", "north")
    (inbox / "b").write_text("no submission")
    before = content(inbox)
    collect(inbox, folder, study=STUDY)
    assert content(inbox) == before


def test_a_partly_copied_file_is_taken_when_it_is_complete(inbox, folder, tmp_path):
    whole = send(tmp_path / "whole", "north")
    for part in (1000, len(whole) // 2):
        (inbox / "north.safetensors").write_bytes(whole[:part])
        ledger = collect(inbox, folder, study=STUDY)
        assert seen(ledger) == {("north.safetensors", None): "refused"}
    (inbox / "north.safetensors").write_bytes(whole)
    assert seen(collect(inbox, folder, study=STUDY)) == {("north.safetensors", 1): "received"}


def test_a_file_deleted_from_the_inbox_stays_received(inbox, folder):
    send(inbox / "a", "north")
    first = collect(inbox, folder, study=STUDY)
    (inbox / "a").unlink()
    assert collect(inbox, folder, study=STUDY) == first
    assert [sent.site for sent in accepted(folder, study=STUDY)] == ["north"]


def test_a_newer_file_supersedes_and_an_older_one_is_a_replay(inbox, folder, tmp_path):
    send(inbox / "second", "north", 2)
    collect(inbox, folder, study=STUDY)
    send(inbox / "third", "north", 3, counts=(50, 60))
    send(inbox / "first", "north", 1)
    ledger = collect(inbox, folder, study=STUDY)
    assert seen(ledger) == {
        ("second", 2): "superseded",
        ("first", 1): "refused",
        ("third", 3): "received",
    }
    assert [sent.class_counts for sent in accepted(folder, study=STUDY)] == [(50, 60)]
    send(inbox / "other", "north", 3)
    again = collect(inbox, folder, study=STUDY)
    replay = next(entry for entry in again.entries if entry.file == "other")
    assert replay.state is State.REFUSED
    assert replay.reason.startswith("expected one file of north under number 3, found a second")
    first = next(entry for entry in again.entries if entry.file == "first")
    assert first.reason.startswith("expected a sequence number above 2 from north, found 1.")


def test_the_same_content_under_two_names_counts_once(inbox, folder):
    whole = send(inbox / "a", "north")
    (inbox / "b").write_bytes(whole)
    ledger = collect(inbox, folder, study=STUDY)
    assert seen(ledger) == {("a", 1): "received"}
    assert ledger.ignored == ("b: the same bytes as a",)
    assert collect(inbox, folder, study=STUDY) == ledger


def test_content_that_was_accepted_earlier_is_told_under_its_new_name(inbox, folder):
    send(inbox / "a", "north", 1)
    collect(inbox, folder, study=STUDY)
    (inbox / "a").rename(inbox / "new\x1bname")
    send(inbox / "b", "north", 2)
    ledger = collect(inbox, folder, study=STUDY)
    assert seen(ledger) == {("a", 1): "superseded", ("b", 2): "received"}
    assert ledger.ignored == ("new?name: the same bytes as a",)


def test_of_two_equal_files_that_are_refused_the_second_is_told(inbox, folder):
    for name in ("a", "b"):
        (inbox / name).write_text("hello")
    ledger = collect(inbox, folder, study=STUDY)
    assert seen(ledger) == {("a", None): "refused"}
    assert ledger.ignored == ("b: the same bytes as a",)


def test_a_site_withdraws_and_may_come_back_with_a_higher_number(inbox, folder):
    send(inbox / "a", "north", 1)
    send(inbox / "b", "north", 2)
    send(inbox / "c", "south", 1)
    take_back(inbox / "n.withdrawal.json", "north", 2)
    ledger = collect(inbox, folder, study=STUDY)
    assert [entry.site for entry in ledger.current()] == ["south"]
    assert copies(folder) == ["south-1.safetensors"]
    assert {entry.state for entry in ledger.entries if entry.site == "north"} == {State.WITHDRAWN}

    send(inbox / "d", "north", 3)
    ledger = collect(inbox, folder, study=STUDY)
    assert [entry.sequence for entry in ledger.current()] == [3, 1]
    send(inbox / "e", "north", 2, counts=(77, 77))
    ledger = collect(inbox, folder, study=STUDY)
    assert [entry.sequence for entry in ledger.current()] == [3, 1]


def test_a_notice_never_touches_other_sites_or_later_numbers(inbox, folder):
    send(inbox / "a", "north", 5)
    send(inbox / "b", "south", 1)
    take_back(inbox / "n.withdrawal.json", "north", 4)
    ledger = collect(inbox, folder, study=STUDY)
    assert [entry.site for entry in ledger.current()] == ["north", "south"]


def test_a_forged_notice_is_refused(inbox, folder):
    send(inbox / "a", "north")
    text = json.dumps({"notice": {"site": "north"}, "signature": ""})
    (inbox / "n.withdrawal.json").write_text(text)
    ledger = collect(inbox, folder, study=STUDY)
    assert [entry.site for entry in ledger.current()] == ["north"]
    assert ledger.entries[-1].state is State.REFUSED


def test_the_coordinator_withdraws_a_site(inbox, folder):
    send(inbox / "a", "north", 1)
    send(inbox / "b", "north", 2)
    collect(inbox, folder, study=STUDY)
    ledger = withdraw(folder, "north", study=STUDY)
    assert ledger == load_ledger(folder)
    assert ledger.current() == ()
    assert copies(folder) == []
    assert {entry.reason for entry in ledger.entries} == {"withdrawn by the coordinator"}
    assert collect(inbox, folder, study=STUDY) == ledger
    with pytest.raises(StudyError, match=r"received \(nobody\), found north"):
        withdraw(folder, "north", study=STUDY)


def test_a_giant_file_is_refused_unread(inbox, folder, monkeypatch):
    limit = submission_bytes(STUDY, "resnet10-small")
    with (inbox / "giant").open("wb") as file:
        file.truncate(1 << 40)

    def never(*args):
        raise AssertionError

    monkeypatch.setattr(envoi.server.arrival, "bounded_digest", never)
    ledger = collect(inbox, folder, study=STUDY)
    (entry,) = ledger.entries
    assert entry.state is State.REFUSED
    wanted = f"expected at most {limit} bytes, found {1 << 40} bytes, too many to be read. {SIZE}"
    assert entry.reason == wanted
    assert collect(inbox, folder, study=STUDY) == ledger
    with (inbox / "giant").open("ab") as file:
        file.truncate(1 << 41)
    assert [e.bytes for e in collect(inbox, folder, study=STUDY).entries] == [1 << 41]


def test_a_giant_notice_is_refused_unread(inbox, folder):
    (inbox / "n.withdrawal.json").write_text(" " * 10_000)
    (entry,) = collect(inbox, folder, study=STUDY).entries
    assert "too many to be read. Ask the site to write the notice again" in entry.reason


@pytest.mark.parametrize("is_larger", [False, True])
def test_a_submission_of_another_study_is_told_as_such(inbox, folder, is_larger):
    grey, colour = STUDY, study_of(image={"channels": 3, "size_px": 8})
    ours, other = (grey, colour) if is_larger else (colour, grey)
    whole = send(inbox / "a", "north", study=other)
    size = submission_bytes(ours, "resnet10-small")
    assert (len(whole) > size) == is_larger
    (entry,) = collect(inbox, folder, study=ours).entries
    assert f"{size} bytes, found {len(whole)} bytes" in entry.reason
    assert entry.reason.endswith(SIZE)


@pytest.mark.parametrize("count", [0, 5, 20, 5000])
def test_an_unfinished_copy_is_to_be_copied_again(inbox, folder, count):
    whole = send(inbox / "a", "north")
    (inbox / "a").write_bytes(whole[:count])
    (entry,) = collect(inbox, folder, study=STUDY).entries
    assert entry.reason.endswith(SIZE)


def test_a_copy_that_is_still_zeros_is_to_be_copied_again(inbox, folder):
    (inbox / "a").write_bytes(bytes(5000))
    (entry,) = collect(inbox, folder, study=STUDY).entries
    assert entry.reason.endswith(SIZE)


@pytest.mark.parametrize("name", ["north.key", "note.txt", "n.withdrawal.json"])
def test_a_private_key_is_told_whatever_its_name(inbox, folder, name):
    save_key(inbox / name, KEYS["north"])
    (entry,) = collect(inbox, folder, study=STUDY).entries
    assert entry.state is State.REFUSED
    assert entry.reason.startswith(
        "expected a submission, found a private key. Delete it from here and have the site make a "
        "new one with `envoi site keygen`"
    )
    assert list((folder / ".incoming").iterdir()) == []


def test_a_key_of_an_unknown_form_is_told_by_its_name(inbox, folder):
    (inbox / "North.KEY").write_bytes(bytes(range(48)))
    (entry,) = collect(inbox, folder, study=STUDY).entries
    assert "found a private key" in entry.reason


def test_no_more_than_a_private_key_is_told_as_one(inbox, folder):
    whole = send(inbox / "good.key", "north")
    (inbox / "half.key").write_bytes(whole[:5000])
    (inbox / "public.key").write_text(public_text(KEYS["north"]))
    good, half, public = collect(inbox, folder, study=STUDY).entries
    assert good.state is State.RECEIVED
    assert half.reason.endswith(SIZE)
    assert "found no submission but text" in public.reason


@pytest.mark.parametrize("count", [20, 500_000])
def test_a_model_is_no_submission_small_or_large(inbox, folder, count):
    save_file({"layer": torch.zeros(count)}, inbox / "student.safetensors", {"card": "{}"})
    (entry,) = collect(inbox, folder, study=STUDY).entries
    assert entry.reason == (
        "expected a submission, found no submission but a model, or other tensors. Take it out of "
        "the inbox; a site sends the file that `envoi site submit` writes."
    )


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"[study]\nname = 'Z\xc3\xbcrich'\n", "text"),
        (b"hello", "text"),
        (b"hello\r\n" * 100_000, "text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a file of another kind"),
        (b"PK\x03\x04" * 200_000, "a file of another kind"),
    ],
)
def test_files_of_other_kinds_are_no_submission(inbox, folder, content, kind):
    (inbox / "a").write_bytes(content)
    (entry,) = collect(inbox, folder, study=STUDY).entries
    assert entry.reason.startswith(f"expected a submission, found no submission but {kind}. Take")


def test_a_notice_under_another_name_works_once_it_is_renamed(inbox, folder):
    send(inbox / "a", "north", 1)
    take_back(inbox / "n.json", "north", 1)
    ledger = collect(inbox, folder, study=STUDY)
    assert [entry.site for entry in ledger.current()] == ["north"]
    wanted = "found a withdrawal notice. Give it a name that ends in .withdrawal.json."
    assert ledger.entries[-1].reason.endswith(wanted)
    (inbox / "n.json").rename(inbox / "n.withdrawal.json")
    ledger = collect(inbox, folder, study=STUDY)
    assert seen(ledger) == {("a", 1): "withdrawn", ("n.withdrawal.json", 1): "withdrawn"}
    assert collect(inbox, folder, study=STUDY) == ledger


def test_hidden_and_unfinished_files_folders_links_and_pipes_are_passed_over(inbox, folder):
    whole = send(inbox / ".north.safetensors.x1", "north")
    for name in ("a.part", "b.TMP", "c~", "d.filepart"):
        (inbox / name).write_bytes(whole)
    (inbox / "sub").mkdir()
    (inbox / "sub" / "north.safetensors").write_bytes(whole)
    (inbox / "link").symlink_to(inbox / "a.part")
    os.mkfifo(inbox / "pipe")
    ledger = collect(inbox, folder, study=STUDY)
    assert ledger.entries == ()
    assert ledger.ignored == (
        "a.part: an unfinished copy",
        "b.TMP: an unfinished copy",
        "c~: an unfinished copy",
        "d.filepart: an unfinished copy",
        "link: a link",
        "pipe: not a regular file",
        "sub: a folder",
    )


def test_a_file_that_cannot_be_read_does_not_hold_up_the_others(inbox, folder, monkeypatch):
    send(inbox / "a", "north")
    send(inbox / "b", "south")
    usual = envoi.server.arrival.opened

    def opened(path):
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return usual(path)

    monkeypatch.setattr(envoi.server.arrival, "opened", opened)
    ledger = collect(inbox, folder, study=STUDY)
    assert [entry.site for entry in ledger.current()] == ["south"]
    assert ledger.ignored == ("a: Permission denied",)


def test_names_from_strangers_are_short_and_printable(inbox, folder):
    names = [b"a\x1b[31mred\nline", b"rtl\xe2\x80\xaetxt", b"bad\xff", b"x" * 255]
    for number, name in enumerate(names):
        (inbox / os.fsdecode(name)).write_bytes(b"x" * (number + 1))
    collect(inbox, folder, study=STUDY)
    found = sorted(entry.file for entry in load_ledger(folder).entries)
    assert found == ["a?[31mred?line", "bad?", "rtl?txt", "x" * 77 + "..."]
    assert "\\u001b" not in (folder / "ledger.json").read_text()


def test_after_the_deadline_only_late_files_are_taken_on_purpose(inbox, folder):
    study = study_of(deadline=datetime.now(UTC) - timedelta(hours=1))
    send(inbox / "a", "north", study=study)
    ledger = collect(inbox, folder, study=study)
    (entry,) = ledger.entries
    assert (entry.state, entry.site, entry.retry) == (State.REFUSED, "north", Retry.LATE)
    assert entry.reason.startswith("it came after the deadline, 20")
    assert copies(folder) == []
    assert collect(inbox, folder, study=study) == ledger
    taken = collect(inbox, folder, study=study, late=True)
    assert seen(taken) == {("a", 1): "received"}
    assert collect(inbox, folder, study=study) == taken


def test_a_file_that_came_in_time_may_be_collected_late(inbox, folder, monkeypatch):
    study = study_of(deadline=datetime.now(UTC) + timedelta(seconds=3))
    send(inbox / "a", "north", study=study)
    os.utime(inbox / "a", (4e9, 4e9))
    assert [e.state for e in collect(inbox, folder, study=study).entries] == [State.RECEIVED]


def scenario(inbox):
    send(inbox / "a", "north", 1)
    send(inbox / "b", "north", 2)
    send(inbox / "c", "south", 1)
    send(inbox / "d", "west", 1)
    (inbox / "e").write_text("no submission")
    take_back(inbox / "f.withdrawal.json", "south", 1)


@pytest.mark.parametrize("function", ["save_ledger", "_move", "copied", "open_submission"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_point_it_ends_in_the_same_state(
    inbox, folder, tmp_path, monkeypatch, function, moment
):
    scenario(inbox)
    monkeypatch.setattr(envoi.server.ledger, "clock", lambda: datetime(2030, 1, 1, tzinfo=UTC))
    collect(inbox, tmp_path / "undisturbed", study=STUDY)
    wanted = content(tmp_path / "undisturbed")
    usual, kills = getattr(envoi.server.arrival, function), 0
    for call in range(20):
        calls = 0

        def killing(*args, _call=call, **kwargs):
            nonlocal calls
            calls += 1
            if moment == "before" and calls > _call:
                raise Killed
            result = usual(*args, **kwargs)
            if moment == "after" and calls > _call:
                raise Killed
            return result

        place = tmp_path / f"killed-{call}"
        with monkeypatch.context() as patch:
            patch.setattr(envoi.server.arrival, function, killing)
            try:
                collect(inbox, place, study=STUDY)
            except Killed:
                kills += 1
        collect(inbox, place, study=STUDY)
        assert content(place) == wanted
        if calls <= call:
            break
    assert kills >= 4


def test_killed_while_deleting_it_ends_in_the_same_state(inbox, folder, monkeypatch):
    send(inbox / "a", "north", 1)
    collect(inbox, folder, study=STUDY)

    def kill(*args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(envoi.server.collect, "_sweep", kill)
        with pytest.raises(Killed):
            withdraw(folder, "north", study=STUDY)
    assert copies(folder) == ["north-1.safetensors"]
    collect(inbox, folder, study=STUDY)
    assert copies(folder) == []


def test_leftovers_of_a_kill_are_removed(inbox, folder):
    send(inbox / "a", "north")
    collect(inbox, folder, study=STUDY)
    before = content(folder)
    (folder / ".incoming" / ".file.x7").write_text("half a copy")
    (folder / ".ledger.json.x7").write_text("half a ledger")
    send(folder / "accepted" / "west-1.safetensors", "west")
    collect(inbox, folder, study=STUDY)
    assert content(folder) == before


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_a_damaged_copy_is_noticed_and_restored_from_the_inbox(inbox, folder, damage):
    whole = send(inbox / "a", "north")
    collect(inbox, folder, study=STUDY)
    copy = folder / "accepted" / "north-1.safetensors"
    copy.unlink() if damage == "lost" else copy.write_bytes(whole[:-1] + b"?")
    found = "nothing" if damage == "lost" else "a changed file"
    with pytest.raises(StorageError, match=f"the copy that was received, found {found}"):
        list(accepted(folder, study=STUDY))
    assert seen(collect(inbox, folder, study=STUDY)) == {("a", 1): "received"}
    assert copy.read_bytes() == whole


def test_a_copy_lost_on_both_sides_no_longer_counts(inbox, folder):
    whole = send(inbox / "a", "north")
    collect(inbox, folder, study=STUDY)
    (folder / "accepted" / "north-1.safetensors").unlink()
    (inbox / "a").unlink()
    (entry,) = collect(inbox, folder, study=STUDY).entries
    assert (entry.state, entry.retry) == (State.REFUSED, Retry.PRESENT)
    assert "put the file into the inbox again" in entry.reason
    (inbox / "again").write_bytes(whole)
    assert seen(collect(inbox, folder, study=STUDY)) == {("again", 1): "received"}


def test_a_full_disk_ends_in_one_line_and_loses_nothing(inbox, folder, monkeypatch):
    send(inbox / "a", "north")
    send(inbox / "b", "south")
    usual, calls = os.fsync, 0

    def full(handle):
        nonlocal calls
        calls += 1
        if calls > 9:
            raise OSError(28, "No space left on device")
        return usual(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left on device.* stays noted"):
            collect(inbox, folder, study=STUDY)
    assert len(load_ledger(folder).current()) == 1
    assert len(collect(inbox, folder, study=STUDY).current()) == 2


def test_another_study_is_refused(inbox, folder):
    collect(inbox, folder, study=STUDY)
    other = study_of(minimum_sites=1)
    for job in (
        lambda: collect(inbox, folder, study=other),
        lambda: withdraw(folder, "north", study=other),
        lambda: list(accepted(folder, study=other)),
    ):
        with pytest.raises(StudyError, match="start a new folder: all sites send again"):
            job()


def test_a_lost_ledger_is_not_overwritten(inbox, folder):
    send(inbox / "a", "north")
    collect(inbox, folder, study=STUDY)
    (folder / "ledger.json").unlink()
    with pytest.raises(StorageError, match="the ledger of the accepted copies, found none"):
        collect(inbox, folder, study=STUDY)
    assert copies(folder) == ["north-1.safetensors"]


@pytest.mark.parametrize("text", ["", "{}", '{"study": 1, "entries": 2}'])
def test_a_damaged_ledger_is_refused(folder, text):
    folder.mkdir()
    (folder / "ledger.json").write_text(text)
    with pytest.raises(StorageError, match="Restore it from a backup"):
        load_ledger(folder)


@pytest.mark.parametrize("text", ["", '{"x":', '{"study": "0", "entries": [{"fi'])
def test_a_ledger_cut_short_is_told_as_damaged(folder, text):
    folder.mkdir()
    (folder / "ledger.json").write_text(text)
    with pytest.raises(StorageError, match="expected a ledger, found a damaged file") as caught:
        load_ledger(folder)
    assert "version" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"), [("{}", "1 wrong field"), ('{"study": 1, "entries": 2}', "2 wrong fields")]
)
def test_a_ledger_of_other_fields_is_told_as_another_version(folder, text, found):
    folder.mkdir()
    (folder / "ledger.json").write_text(text)
    with pytest.raises(StorageError, match=rf"a ledger of this version, found {found}\."):
        load_ledger(folder)


def test_places_that_do_not_exist_or_mix_are_refused(inbox, folder, tmp_path):
    with pytest.raises(StorageError, match="a readable inbox, found No such file"):
        collect(tmp_path / "nowhere", folder, study=STUDY)
    with pytest.raises(StorageError, match="Keep the inbox and the server's folder apart"):
        collect(inbox, inbox, study=STUDY)
    with pytest.raises(StorageError, match="Run `envoi server collect` with this folder first"):
        load_ledger(folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Give a folder that can be written"):
        collect(inbox, tmp_path / "file", study=STUDY)


def hold(folder, ready, release):
    with envoi.server.collect._locked(folder):
        ready.set()
        release.wait(20)


def collect_in_turn(inbox, folder, done):
    collect(inbox, folder, study=STUDY)
    done.set()


def test_a_second_collector_waits_for_the_first(inbox, folder):
    send(inbox / "a", "north")
    # Threads have locks of their own here: each opens the lock file anew.

    ready, release, done = threading.Event(), threading.Event(), threading.Event()
    threads = [
        threading.Thread(target=hold, args=(folder, ready, release)),
        threading.Thread(target=collect_in_turn, args=(inbox, folder, done)),
    ]
    threads[0].start()
    assert ready.wait(20)
    threads[1].start()
    assert not done.wait(0.5)
    release.set()
    for thread in threads:
        thread.join(20)
    assert done.is_set()
    assert len(load_ledger(folder).current()) == 1
