"""What a site takes back, from which folder, and what it is told of the rest."""

from datetime import UTC, datetime

import pytest

from envoi.site import above_all
from envoi.study import load_study
from envoi.submission import generate_key, open_withdrawal, public_text, save_key
from tests.cli.test_site import STUDY, SUBMIT, TRAIN, place, run  # noqa: F401  (a fixture)

WITHDRAW = ["site", "withdraw", *STUDY, "--key", "north.key", "--out", "inbox"]


@pytest.fixture
def sent(place):  # noqa: F811
    """North sent three files, and lost what it knew of them; the server signs receipts."""
    key = generate_key()
    save_key(place / "server.key", key)
    assert run("study", "set-server", "study.toml", "--receipts", public_text(key)).exit_code == 0
    assert run(*TRAIN, "--set", "epochs=1").exit_code == 0
    for _ in range(3):
        assert run(*SUBMIT, "--out", "inbox/").exit_code == 0
    (place / "work" / "sent.json").unlink()
    (place / "north.key.sent.json").unlink()
    return place


def collected():
    words = ("inbox", "--study", "study.toml", "--folder", "server", "--outbox", "outbox")
    return run("server", "collect", *words, "--key", "server.key")


def verified(name):
    words = ("--study", "study.toml", "--file", f"inbox/{name}.withdrawal.json")
    return run(
        "site", "verify-receipt", *words, "--receipt", f"outbox/{name}.withdrawal.receipt.json"
    )


def test_a_file_that_a_notice_does_not_reach_is_told_to_both(sent):
    found = run(*SUBMIT, "--out", "later.safetensors")
    assert "no file is known that this folder or this key wrote before" in found.output
    assert "--sequence N" in found.output
    found = run(*WITHDRAW, "--work", "work")
    assert "up to number 1." in found.output
    assert "--all takes back everything" in found.output
    done = collected()
    assert "warning: number 3 of north still counts" in done.stderr
    found = verified("north-1")
    assert found.exit_code == 0
    assert "warning: number 3 of north, which came before it, still counts" in found.stderr


def test_all_is_taken_back_whatever_is_known_and_a_site_may_come_back(sent):
    found = run(*WITHDRAW, "--all")
    assert found.exit_code == 0, found.stderr
    number = above_all(datetime.now(UTC).date())
    name = f"north-{number}"
    notice = open_withdrawal(
        sent / "inbox" / f"{name}.withdrawal.json", study=load_study(sent / "study.toml")
    )
    assert notice.sequence == number
    done = collected()
    assert "still counts" not in done.stderr
    assert "0 of 2 sites" in done.output
    assert "still counts" not in verified(name).stderr
    found = run(*SUBMIT, "--out", "inbox")
    assert f"Its number is {number + 1}: this key has signed number {number} before" in found.output
    assert "1 of 2 sites: north" in collected().output


def test_a_number_that_was_used_is_refused_with_the_one_to_give(sent):
    collected()
    assert run(*TRAIN, "--set", "epochs=1", "--seed", 4, "--again").exit_code == 0
    assert run(*SUBMIT, "--out", "inbox/again.safetensors").exit_code == 0
    told = " ".join(collected().output.split())
    assert "`envoi site submit --sequence 4` or above" in told


def test_a_new_folder_counts_on_and_withdraws_what_the_key_wrote(place):  # noqa: F811
    assert run(*TRAIN, "--set", "epochs=1").exit_code == 0
    assert run(*SUBMIT, "--out", ".", "--sequence", 7).exit_code == 0
    (place / "work" / "sent.json").unlink()
    found = run(*SUBMIT, "--out", ".")
    assert "Its number is 8: this key has signed number 7 before." in found.output
    assert "Its number is" not in run(*SUBMIT, "--out", ".").output
    found = run(*WITHDRAW[:-1], ".")
    assert "up to number 9." in found.output


def test_one_way_of_saying_how_much(place):  # noqa: F811
    found = run(*WITHDRAW, "--all", "--sequence", 3)
    assert found.exit_code == 2
    assert "expected --all or --sequence, found both" in found.stderr
    assert "--sequence, or --all" in run(*WITHDRAW).stderr
