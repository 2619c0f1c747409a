import getpass
import json
import platform
import socket
from datetime import UTC, datetime, timedelta

import pytest

import envoi.server.collect
import envoi.server.ledger
import envoi.server.outbox
from envoi.errors import CheckError, EnvoiWarning, StorageError, StudyError
from envoi.files import file_digest
from envoi.server.collect import State, collect, withdraw
from envoi.server.ledger import load_ledger
from envoi.server.outbox import Outbox
from envoi.submission import generate_key, public_text
from envoi.submission.receipt import Cause, open_receipt
from envoi.submission.receipt_check import check_receipt
from tests.server.sending import KEYS, SERVER, STUDY, Killed, send, study_of, take_back

PUBLIC = public_text(SERVER)
NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "outbox", SERVER)


@pytest.fixture
def frozen(monkeypatch):
    monkeypatch.setattr(envoi.server.ledger, "clock", lambda: NOW)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def receipts(outbox):
    """All receipts by name, their signatures checked."""
    return {path.name: open_receipt(path, public_key=PUBLIC) for path in outbox.folder.iterdir()}


def refused_name(file, owner="unknown"):
    return f"{owner}.refused-{file_digest(file)[:16]}.receipt.json"


def test_every_file_gets_a_receipt_that_its_site_can_check(inbox, folder, outbox, frozen):
    send(inbox / "a", "north", 1)
    send(inbox / "b", "north", 2)
    send(inbox / "c", "south", 1)
    (inbox / "d").write_text("hello")
    send(inbox / "e", "west", 3)
    take_back(inbox / "e.withdrawal.json", "west", 3)
    collect(inbox, folder, study=STUDY, outbox=outbox)
    found = receipts(outbox)
    told = {name: (r.kind, r.site, r.sequence, r.verdict, r.reason) for name, r in found.items()}
    assert told == {
        "north-1.receipt.json": ("submission", "north", 1, State.SUPERSEDED, Cause.NEWER),
        "north-2.receipt.json": ("submission", "north", 2, State.RECEIVED, None),
        "south-1.receipt.json": ("submission", "south", 1, State.RECEIVED, None),
        "west-3.receipt.json": ("submission", "west", 3, State.WITHDRAWN, Cause.BY_SITE),
        "west-3.withdrawal.receipt.json": ("withdrawal", "west", 3, State.WITHDRAWN, None),
        refused_name(inbox / "d"): ("submission", None, None, State.REFUSED, Cause.NO_SUBMISSION),
    }
    assert {receipt.time for receipt in found.values()} == {NOW}
    for name, file in (
        ("north-2.receipt.json", "b"),
        ("south-1.receipt.json", "c"),
        ("west-3.withdrawal.receipt.json", "e.withdrawal.json"),
    ):
        check_receipt(outbox.folder / name, study=STUDY, file=inbox / file, now=NOW)
    for name, file in (("north-1.receipt.json", "a"), (refused_name(inbox / "d"), "d")):
        with pytest.raises(CheckError, match="receipt, verdict: expected received"):
            check_receipt(outbox.folder / name, study=STUDY, file=inbox / file, now=NOW)
    with pytest.raises(CheckError, match="receipt, number: expected 1, found 2"):
        check_receipt(outbox.folder / "north-2.receipt.json", study=STUDY, file=inbox / "a")


def test_twice_and_with_an_emptied_outbox_the_bytes_are_the_same(inbox, folder, outbox):
    send(inbox / "a", "north")
    (inbox / "b").write_text("hello")
    collect(inbox, folder, study=STUDY, outbox=outbox)
    before, stats = content(outbox.folder), [p.stat() for p in outbox.folder.iterdir()]
    collect(inbox, folder, study=STUDY, outbox=outbox)
    assert [path.stat() for path in outbox.folder.iterdir()] == stats
    for path in outbox.folder.iterdir():
        path.unlink()
    collect(inbox, folder, study=STUDY, outbox=outbox)
    assert content(outbox.folder) == before
    (outbox.folder / "north-1.receipt.json").write_text("damaged")
    collect(inbox, folder, study=STUDY, outbox=outbox)
    assert content(outbox.folder) == before


@pytest.mark.parametrize("call", range(4))
def test_a_kill_while_receipts_are_written_costs_none(inbox, folder, outbox, monkeypatch, call):
    send(inbox / "a", "north")
    send(inbox / "b", "south")
    (inbox / "c").write_text("hello")
    usual, calls = envoi.server.outbox.write_bytes, 0

    def killing(*args):
        nonlocal calls
        calls += 1
        if calls > call:
            raise Killed
        usual(*args)

    with monkeypatch.context() as patch:
        patch.setattr(envoi.server.outbox, "write_bytes", killing)
        if call < 3:
            with pytest.raises(Killed):
                collect(inbox, folder, study=STUDY, outbox=outbox)
        else:
            collect(inbox, folder, study=STUDY, outbox=outbox)
    collect(inbox, folder, study=STUDY, outbox=outbox)
    assert len(receipts(outbox)) == 3


def test_a_full_disk_ends_in_a_line_and_the_next_run_goes_on(inbox, folder, outbox, monkeypatch):
    send(inbox / "a", "north")

    def full(*_):
        raise StorageError

    with monkeypatch.context() as patch:
        patch.setattr(envoi.server.outbox, "write_bytes", full)
        with pytest.raises(StorageError):
            collect(inbox, folder, study=STUDY, outbox=outbox)
    assert len(load_ledger(folder).current()) == 1
    collect(inbox, folder, study=STUDY, outbox=outbox)
    assert list(receipts(outbox)) == ["north-1.receipt.json"]


def test_of_two_files_under_one_number_the_first_stays(inbox, folder, outbox):
    send(inbox / "a", "north", 4, counts=(20, 30))
    send(inbox / "b", "north", 4, counts=(50, 60))
    ledger = collect(inbox, folder, study=STUDY, outbox=outbox)
    assert [(e.file, e.sequence) for e in ledger.current()] == [("a", 4)]
    second = ledger.entries[-1]
    assert (second.site, second.sequence, second.state) == ("north", 4, State.REFUSED)
    assert second.reason == (
        "expected one file of north under number 4, found a second, of other content. The first "
        "one stays as it is; let the site write it again: `envoi site submit --sequence 5` or "
        "above."
    )
    found = receipts(outbox)
    name = refused_name(inbox / "b", "north-4")
    assert found.keys() == {"north-4.receipt.json", name}
    assert found[name].reason is Cause.NUMBER_USED
    check_receipt(outbox.folder / "north-4.receipt.json", study=STUDY, file=inbox / "a")
    with pytest.raises(CheckError, match="sent another file under this number or a higher one"):
        check_receipt(outbox.folder / name, study=STUDY, file=inbox / "b")


def test_the_same_file_twice_has_one_receipt(inbox, folder, outbox):
    whole = send(inbox / "a", "north")
    (inbox / "b").write_bytes(whole)
    ledger = collect(inbox, folder, study=STUDY, outbox=outbox)
    assert ledger.ignored == ("b: the same bytes as a",)
    assert list(receipts(outbox)) == ["north-1.receipt.json"]
    check_receipt(outbox.folder / "north-1.receipt.json", study=STUDY, file=inbox / "b")


def test_a_late_file_has_a_receipt_that_says_so_until_it_is_taken(inbox, folder, outbox):
    study = study_of(deadline=datetime.now(UTC) - timedelta(days=2))
    send(inbox / "a", "north", study=study)
    (entry,) = collect(inbox, folder, study=study, outbox=outbox).entries
    assert "by the inbox's clock; --late takes it" in entry.reason
    assert {name: r.reason for name, r in receipts(outbox).items()} == {
        refused_name(inbox / "a", "north-1"): Cause.DEADLINE
    }
    collect(inbox, folder, study=study, outbox=outbox, late=True)
    assert list(receipts(outbox)) == ["north-1.receipt.json"]


def test_a_lost_copy_takes_its_receipt_back(inbox, folder, outbox):
    send(inbox / "a", "north")
    collect(inbox, folder, study=STUDY, outbox=outbox)
    (folder / "accepted" / "north-1.safetensors").unlink()
    (inbox / "a").rename(inbox.parent / "a")
    collect(inbox, folder, study=STUDY, outbox=outbox)
    (receipt,) = receipts(outbox).values()
    assert (receipt.verdict, receipt.reason) == (State.REFUSED, Cause.LOST)
    (inbox.parent / "a").rename(inbox / "a")
    collect(inbox, folder, study=STUDY, outbox=outbox)
    assert [r.verdict for r in receipts(outbox).values()] == [State.RECEIVED]


def test_a_withdrawal_by_the_coordinator_is_in_the_next_receipts(inbox, folder, outbox):
    send(inbox / "a", "north")
    collect(inbox, folder, study=STUDY, outbox=outbox)
    withdraw(folder, "north", study=STUDY)
    collect(inbox, folder, study=STUDY, outbox=outbox)
    (receipt,) = receipts(outbox).values()
    assert (receipt.verdict, receipt.reason) == (State.WITHDRAWN, Cause.BY_COORDINATOR)


def test_strangers_cannot_fill_the_outbox(inbox, folder, outbox, monkeypatch):
    monkeypatch.setattr(envoi.server.outbox, "REFUSED_LIMIT", 3)
    send(inbox / "0", "north")
    for number in range(1, 6):
        (inbox / f"{number}").write_text("hello" * number)
    (outbox.folder).mkdir()
    (outbox.folder / "mine.receipt.json").write_text("x")
    (outbox.folder / "notes").write_text("x")
    collect(inbox, folder, study=STUDY, outbox=outbox)
    kept = {refused_name(inbox / f"{number}") for number in (3, 4, 5)}
    wanted = {"north-1.receipt.json", "mine.receipt.json", "notes", *kept}
    assert {path.name for path in outbox.folder.iterdir()} == wanted
    (inbox / "6").write_text("one more")
    collect(inbox, folder, study=STUDY, outbox=outbox)
    assert not (outbox.folder / refused_name(inbox / "3")).exists()
    assert (outbox.folder / refused_name(inbox / "6")).exists()


def test_a_giant_file_has_a_receipt_without_a_digest(inbox, folder, outbox):
    with (inbox / "giant").open("wb") as file:
        file.truncate(1 << 40)
    collect(inbox, folder, study=STUDY, outbox=outbox)
    (receipt,) = receipts(outbox).values()
    assert (receipt.sha256, receipt.bytes) == (None, 1 << 40)


def test_no_receipt_quotes_a_stranger(inbox, folder, outbox, monkeypatch):
    planted = "Planted-Patient"
    for module, function in ((socket, "gethostname"), (platform, "node"), (getpass, "getuser")):
        monkeypatch.setattr(module, function, lambda: "planted-machine")
    (inbox / f"{planted}.safetensors").write_text(planted)
    whole = send(inbox / f"{planted}-2", "north")
    length = int.from_bytes(whole[:8], "little")
    forged = whole[8 : 8 + length].replace(b"conv1.weight", b"Planted-Pati")
    (inbox / f"{planted}-3").write_bytes(whole[:8] + forged + whole[8 + length :])
    (inbox / f"{planted}.withdrawal.json").write_text(json.dumps({"notice": {"site": planted}}))
    collect(inbox, folder, study=STUDY, outbox=outbox)
    assert len(receipts(outbox)) == 4
    for path in outbox.folder.iterdir():
        assert "planted" not in path.name.lower()
        assert b"planted" not in path.read_bytes().lower()


def test_keys_and_folders_are_checked_before_any_work(inbox, folder, tmp_path):
    send(inbox / "a", "north")
    for place in (inbox, folder):
        with pytest.raises(StorageError, match="Keep inbox, outbox and the server's folder apart"):
            collect(inbox, folder, study=STUDY, outbox=Outbox(place, SERVER))
    other = Outbox(tmp_path / "outbox", generate_key())
    with pytest.raises(StudyError, match="Give the server's own key, and the study.toml"):
        collect(inbox, folder, study=STUDY, outbox=other)
    site = Outbox(tmp_path / "outbox", KEYS["north"])
    with pytest.raises(StudyError, match="--key: expected the key"):
        collect(inbox, folder, study=STUDY, outbox=site)
    nameless = study_of(server={"encryption": RECIPIENT})
    with pytest.raises(StudyError, match="a study that names its key, found one without a key"):
        collect(inbox, folder, study=nameless, outbox=Outbox(tmp_path / "outbox", SERVER))
    assert not folder.exists()
    assert not (tmp_path / "outbox").exists()


RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def test_an_outbox_that_cannot_be_read_is_told(inbox, folder, outbox):
    outbox.folder.write_text("")
    send(inbox / "a", "north")
    with pytest.raises(StorageError, match="outbox: expected a folder, found a file"):
        collect(inbox, folder, study=STUDY, outbox=outbox)


def test_a_ledger_from_before_receipts_gets_them(inbox, folder, outbox):
    """Its entries know no time, no cause and no kind."""
    send(inbox / "a", "north")
    (inbox / "b").write_text("hello")
    take_back(inbox / "n.withdrawal.json", "west", 3)
    collect(inbox, folder, study=STUDY)
    document = json.loads((folder / "ledger.json").read_text())
    del document["revoked"]
    for entry in document["entries"]:
        for name in ("content", "cause", "time", "notice"):
            del entry[name]
    (folder / "ledger.json").write_text(json.dumps(document))
    collect(inbox, folder, study=STUDY, outbox=outbox)
    found = receipts(outbox)
    assert {name: r.kind for name, r in found.items()} == {
        "north-1.receipt.json": "submission",
        "west-3.withdrawal.receipt.json": "withdrawal",
        refused_name(inbox / "b"): "submission",
    }
    assert {receipt.time for receipt in found.values()} == {None}
    check_receipt(outbox.folder / "north-1.receipt.json", study=STUDY, file=inbox / "a")


@pytest.mark.parametrize(("hours", "warns"), [(-48, True), (-20, False), (0, False), (48, True)])
def test_a_clock_two_days_off_is_told_and_costs_nothing(
    inbox, folder, outbox, monkeypatch, hours, warns
):
    """The machine is behind its inbox (the clock), or the site ahead of both (its date)."""
    now = datetime.now(UTC).replace(microsecond=0)
    monkeypatch.setattr("envoi.server.arrival.clock", lambda: now + timedelta(hours=min(hours, 0)))
    dated = (now + timedelta(hours=max(hours, 0))).date()
    send(inbox / "a", "north", created=dated)
    if warns:
        with pytest.warns(EnvoiWarning, match="the file of north came on .* one of the two clocks"):
            ledger = collect(inbox, folder, study=STUDY, outbox=outbox)
    else:
        ledger = collect(inbox, folder, study=STUDY, outbox=outbox)
    assert [entry.site for entry in ledger.current()] == ["north"]
    assert collect(inbox, folder, study=STUDY, outbox=outbox).current() == ledger.current()
