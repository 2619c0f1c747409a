"""A student goes out to hospitals, and their words on it come back, by real processes."""

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'envoi[flare]'")

from envoi.cli import app
from envoi.engine.flare.cargo import WITHDRAWALS, Cargo, Kind
from envoi.engine.flare.inbox import Outcome, last_outcome, outcomes_of
from envoi.engine.flare.run import Patience, run
from envoi.engine.flare.send import send
from envoi.engine.flare.students import student_path
from envoi.files import file_digest
from envoi.server.collect import collect
from envoi.server.ledger import State
from envoi.submission import save_key
from tests.engine.flare.conftest import KEYS, endorsed, withdraw
from tests.engine.flare.federation import Watch, until
from tests.engine.flare.hospitals import PATIENCE, Federation

pytestmark = [pytest.mark.flare, pytest.mark.slow, pytest.mark.network]

SITES = ("north", "south-clinic")


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    made = Federation(tmp_path_factory.mktemp("federation"), SITES)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def student(federation):
    folder = federation.root / "run"
    folder.mkdir()
    path, _ = endorsed(folder, federation.study)
    return path


def carried(federation, verb, what, patience=PATIENCE, sites=()):
    """Who is late, and what was told."""
    news = []
    late = verb(
        federation.coordinator,
        federation.server,
        what,
        sites=sites,
        patience=patience,
        on_news=lambda *told: news.append(told),
    )
    return late, news


def command(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def status(federation, *options):
    kits = ("--server", federation.kits / "server")
    kits += ("--coordinator", federation.kits / "coordinator")
    return command("flare", "status", *kits, *options).output.splitlines()


def test_a_student_reaches_every_site_that_is_connected(federation, student):
    with Watch(list(federation.parties.values())) as watch:
        late, news = carried(federation, send, student, sites=SITES)
    assert late == ()
    for site in SITES:
        place = student_path(federation.kits / site / "students", file_digest(student))
        assert place.read_bytes() == student.read_bytes()
        endorsement = place.with_name(f"{place.name}.endorsement.json")
        assert (
            endorsement.read_bytes()
            == student.with_name(f"{student.name}.endorsement.json").read_bytes()
        )
        assert [told for who, told in news if who == site][-1] == f"delivered {place.name}"
    assert watch.outside == set()
    brief = Patience(wait_seconds=3, poll_seconds=0.5)
    late, news = carried(federation, send, student, brief)
    assert late == ("west",)
    assert news[-1] == ("west", "not connected")
    assert {told[:17] for who, told in news if who != "west"} == {"delivered before:"}
    lines = status(federation, "--sent", student)
    assert set(SITES) == {line.split(":")[0] for line in lines if f": got {place.name}; " in line}
    assert "west: nothing got; not connected" in lines


def test_a_site_whose_study_names_no_server_key_takes_no_student(federation, student):
    site, cargo = "north", Cargo(Kind.STUDENT, file_digest(student))
    study_file = federation.kits / site / "local" / "study.toml"
    before = study_file.read_text()
    kept = {path: path.stat().st_mtime_ns for path in study_file.parents[1].glob("students/*")}
    lines = [line for line in before.splitlines() if not line.startswith("receipts = ")]
    study_file.write_text("\n".join(lines).replace("[server]", ""))
    outcomes = outcomes_of(federation.server, cargo)
    try:
        patience = Patience(wait_seconds=5, poll_seconds=0.5, retry_seconds=60, watch_seconds=12)
        late, _ = carried(federation, send, student, patience, sites=(site,))
        until(lambda: last_outcome(outcomes, site).outcome is Outcome.UNTAKEN, 60, "its refusal")
    finally:
        study_file.write_text(before)
    assert late == (site,)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_evaluations_come_back_and_are_put_together(federation, student):
    draws = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 4), ("val", 4), ("test", 40)):
        arrays[f"{part}_images"] = draws.integers(0, 256, (count, 8, 8), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2)[:, None]
    np.savez(federation.root / "images.npz", **arrays)
    for site in SITES:
        kit, key = federation.kits / site, federation.root / f"{site}.key"
        save_key(key, KEYS[site])
        came = student_path(kit / "students", file_digest(student))
        own = ("--study", kit / "local" / "study.toml", "--site", site, "--key", key)
        files = ("--data", federation.root / "images.npz", "--out")
        out = kit / "outbox" / "one.evaluation.json"
        done = command("site", "evaluate", came, *own, *files, out)
        assert done.exit_code == 0, done.output
        assert "The student is signed with the server's key" in done.output
    cargo = Cargo(Kind.EVALUATION, file_digest(student))
    assert carried(federation, run, cargo, sites=SITES)[0] == ()
    for site in SITES:
        sent = file_digest(federation.outbox(site) / "one.evaluation.json")
        assert federation.in_inbox(site, cargo) == [sent]
        until(
            lambda site=site, sent=sent: sent in federation.confirmed(site), 20, "the confirmation"
        )
    asked = status(federation, "--evaluations", student)
    assert sum(": delivered " in line for line in asked) == len(SITES)
    study = federation.kits / "server" / "local" / "study.toml"
    ledger = federation.root / "ledger"
    collect(federation.inbox, ledger, study=federation.study)
    together = ("--study", study, "--folder", ledger, "--student", student)
    merged = command("server", "evaluations", federation.inbox, *together)
    assert merged.exit_code == 0, merged.output
    assert "2 sites, 80 images, with 95 % intervals:" in merged.output
    assert not any(federation.in_inbox(site) for site in SITES)


def test_a_notice_of_withdrawal_comes_by_the_same_way(federation, tmp_path):
    assert carried(federation, run, Cargo(Kind.SUBMISSION), sites=SITES)[0] == ()
    withdraw(federation.outbox("south-clinic"), federation.study, "south-clinic")
    late, news = carried(federation, run, WITHDRAWALS, sites=SITES)
    assert late == ()
    assert ("north", f"{Outcome.NOTHING}") in news
    ledger = collect(federation.inbox, tmp_path / "server", study=federation.study)
    states = {entry.site: entry.state for entry in ledger.entries if entry.file.endswith("tensors")}
    assert states == {"north": State.RECEIVED, "south-clinic": State.WITHDRAWN}
