"""`envoi site audit`, and what `submit` refuses because of it."""

from importlib import import_module

import numpy as np
import pytest

from envoi.cli.audit import _attack
from envoi.membership import Membership
from envoi.results import Interval
from tests.cli.test_site import place, run  # noqa: F401  (a fixture)

TRAIN = ("--study", "study.toml", "--site", "north", "--work", "work")


@pytest.fixture
def trained(place, monkeypatch):  # noqa: F811
    """A finished training of north that betrays everybody, in a study that asks for an audit."""
    text = (place / "study.toml").read_text()
    (place / "study.toml").write_text(f"{text}\n[audit]\nmaximum_membership = 1.0\n")

    def all_told(trained, images, study):
        return 1.0 - np.isin(np.arange(len(images)), trained.validation)

    monkeypatch.setattr(import_module("envoi.site.audit"), "_sureness", all_told)
    done = run("site", "train", *TRAIN, "--data", "images.npz")
    assert done.exit_code == 0, done.output
    return place


def audited(*options):
    return run("site", "audit", *TRAIN, *options)


def submitted(*options):
    return run("site", "submit", *TRAIN, "--key", "north.key", "--out", "north.st", *options)


def limit(place, to):  # noqa: F811
    text = (place / "study.toml").read_text()
    (place / "study.toml").write_text(text.replace("membership = 1.0", f"membership = {to}"))


def test_everything_that_would_leave_is_said_and_nothing_is_written(trained):
    before = sorted(trained.rglob("*"))
    done = audited()
    assert done.exit_code == 0, done.output
    words = " ".join(done.output.split())
    for told in (
        "This would leave the hospital, and nothing else:",
        "What the site's audit came to:",
        "bytes in all.",
        "Classes of fewer than 10 images",
        "From the network: whether an image was in the training, with 1.00 [1.00, 1.00]",
        "images stand out, where",
        "The file may leave.",
    ):
        assert told in words
    assert "people stand out" not in words
    assert sorted(trained.rglob("*")) == before
    assert submitted().exit_code == 0
    size = (trained / "north.st").stat().st_size
    assert f"{size} bytes in all." in words


def test_a_file_above_the_limit_is_not_written_and_takes_no_number(trained):
    limit(trained, 0.95)
    for done in (audited(), submitted()):
        assert done.exit_code == 4
        assert "membership told with at most 0.95, found 1.00" in done.output
    assert not (trained / "north.st").exists()
    assert not (trained / "work" / "sent.json").exists()


@pytest.mark.parametrize(
    "listed",
    ["Mustermann\nresnet10-small\n", "\ufeffresnet10-small\n", "Erika;Mustermann,resnet10-small"],
)
def test_an_identifier_in_the_file_stops_it(listed, trained):
    names = trained / "names.txt"
    names.write_text(listed, encoding="utf-8")
    for done in (audited("--identifiers", names), submitted("--identifiers", names)):
        assert done.exit_code == 4
        assert "no identifier in the file, found 1" in done.output
    assert not (trained / "north.st").exists()


def test_it_is_said_how_many_names_were_looked_for(trained, monkeypatch):
    monkeypatch.setattr("envoi.site.identifiers.machine_names", lambda: {"scanner7", "me"})
    names = trained / "names.txt"
    names.write_text("Mustermann\n17\n\nLi \nnorth\nmustermann\n")
    done = audited("--identifiers", names)
    assert done.exit_code == 0
    for told in (
        "Names of this machine and its user: 1 of 2 looked for (1 too short), none is in the file.",
        "Your list: 1 of 4 looked for (2 too short, 1 the site's id), none is in the file.",
        "What has fewer than 4 characters stands in any text by chance; the site's id, north, is",
    ):
        assert told in done.output
    names.write_text("17\n")
    assert "Your list: 0 of 1 looked for (1 too short).\n" in audited("--identifiers", names).output


@pytest.mark.parametrize(
    ("of_patients", "words"),
    [
        (True, ("whether somebody was in the training", "5 of 20 people stand out")),
        (False, ("whether an image was in the training", "5 of 20 images stand out")),
    ],
)
def test_people_are_spoken_of_where_patients_are_known(of_patients, words):
    found = Membership(Interval(0.6, 0.5, 0.7), 20, 10, 5, 1.8, of_patients=of_patients)
    line = _attack("From the network", found)
    assert all(part in line for part in words)


@pytest.mark.parametrize("patience", [0, 2])
def test_that_held_out_people_chose_the_epoch_is_said(place, patience):  # noqa: F811
    patient = ("--set", f"patience={patience}", "--set", "epochs=1")
    assert run("site", "train", *TRAIN, "--data", "images.npz", *patient).exit_code == 0
    assert ("Images held out chose where training ended" in " ".join(audited().output.split())) == (
        patience > 0
    )
