"""Names that must not be in a file: found whatever their case, counted and never told."""

import getpass
import socket
from pathlib import Path

import pytest

from envoi.errors import CheckError
from envoi.site.identifiers import Searched, check_nobody_named, machine_names

TEXT = '{"site":"north-clinic","card":{"note":"MUSTERMANN, 12345678"}}'


@pytest.mark.parametrize("name", ["Mustermann", "mustermann ", "12345678"])
def test_a_name_is_found_and_not_repeated(name):
    with pytest.raises(CheckError, match="found 1") as caught:
        check_nobody_named(TEXT, [name, "nobody"], allowed=[])
    assert name.strip() not in str(caught.value)


def test_parts_of_words_short_words_and_the_site_are_passed_over():
    looked = check_nobody_named(TEXT, ["muster", "234567", "1234567", "Muster "], allowed=[])
    assert looked == Searched(sought=3, short=0, spared=0)
    looked = check_nobody_named(TEXT, ["no", "car", "", " "], allowed=[])
    assert looked == Searched(sought=0, short=2, spared=0)
    looked = check_nobody_named(TEXT, ["North-clinic"], allowed=["north-clinic"])
    assert looked == Searched(sought=0, short=0, spared=1)
    assert str(looked) == "0 of 1 looked for (1 the site's id)"


def test_the_names_of_machine_and_user_are_known_with_and_without_a_domain(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "scanner7.hospital.example")
    monkeypatch.setattr(getpass, "getuser", lambda: "emustermann")
    monkeypatch.setattr(Path, "home", lambda: Path("/home/erika"))
    wanted = {"scanner7.hospital.example", "scanner7", "emustermann", "erika"}
    assert machine_names() == wanted


def test_names_that_the_system_does_not_know_are_left_out(monkeypatch):
    def unknown():
        raise KeyError("uid")

    monkeypatch.setattr(socket, "gethostname", lambda: "vm")
    monkeypatch.setattr(getpass, "getuser", unknown)
    monkeypatch.setattr(Path, "home", lambda: Path("/root"))
    assert machine_names() == {"vm", "root"}
