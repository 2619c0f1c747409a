"""That a notice does not reach a file of its site is told, to the coordinator and the site."""

import json

import pytest

from envoi.server.collect import collect
from envoi.server.ledger import load_ledger
from envoi.server.left import left_in
from envoi.server.outbox import Outbox
from envoi.submission import public_text
from envoi.submission.receipt import open_receipt
from tests.server.sending import SERVER, STUDY, send, take_back


@pytest.fixture
def outbox(tmp_path):
    return Outbox(tmp_path / "outbox", SERVER)


def told(ledger):
    return [(left.site, left.reached, left.counting) for left in left_in(ledger)]


def receipt(outbox, name):
    return open_receipt(outbox.folder / name, public_key=public_text(SERVER))


def test_a_higher_number_that_was_there_is_told(inbox, folder, outbox):
    for number in (1, 2, 3):
        send(inbox / f"{number}", "north", number)
    take_back(inbox / "n.withdrawal.json", "north", 1)
    ledger = collect(inbox, folder, study=STUDY, outbox=outbox)
    assert told(ledger) == [("north", 1, 3)]
    assert "number 3 of north still counts" in str(left_in(ledger)[0])
    assert told(load_ledger(folder)) == told(ledger)
    assert receipt(outbox, "north-1.withdrawal.receipt.json").still_counting == 3
    assert receipt(outbox, "north-3.receipt.json").still_counting is None
    take_back(inbox / "o.withdrawal.json", "north", 2)
    assert told(collect(inbox, folder, study=STUDY, outbox=outbox)) == [("north", 2, 3)]


def test_a_later_notice_of_all_ends_it_and_the_receipt_is_written_anew(inbox, folder, outbox):
    send(inbox / "a", "north", 3)
    take_back(inbox / "n.withdrawal.json", "north", 1)
    collect(inbox, folder, study=STUDY, outbox=outbox)
    take_back(inbox / "o.withdrawal.json", "north", 3)
    assert told(collect(inbox, folder, study=STUDY, outbox=outbox)) == []
    path = outbox.folder / "north-1.withdrawal.receipt.json"
    assert receipt(outbox, path.name).still_counting is None
    assert "still_counting" not in json.loads(path.read_text())["receipt"]


def test_a_site_that_came_back_is_not_told_of_it(inbox, folder):
    send(inbox / "a", "north", 1)
    send(inbox / "b", "south", 4)
    take_back(inbox / "n.withdrawal.json", "north", 1)
    assert told(collect(inbox, folder, study=STUDY)) == []
    send(inbox / "c", "north", 2)
    assert told(collect(inbox, folder, study=STUDY)) == []


def test_a_copy_that_was_lost_and_comes_back_was_there_before_the_notice(inbox, folder):
    whole = send(inbox / "a", "north", 3)
    collect(inbox, folder, study=STUDY)
    (folder / "accepted" / "north-3.safetensors").unlink()
    (inbox / "a").unlink()
    collect(inbox, folder, study=STUDY)
    take_back(inbox / "n.withdrawal.json", "north", 1)
    collect(inbox, folder, study=STUDY)
    (inbox / "again").write_bytes(whole)
    assert told(collect(inbox, folder, study=STUDY)) == [("north", 1, 3)]
