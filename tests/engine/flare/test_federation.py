"""Three sites and a server as real processes with mutual TLS: kills, strangers, foreign jobs."""

import contextlib
import json
import socket
import ssl
from pathlib import Path

import pytest

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed: pip install 'envoi[flare]'")

from envoi.engine.flare.cargo import SUBMISSIONS
from envoi.engine.flare.inbox import Outcome, last_outcome
from envoi.engine.flare.jobs import write_job
from envoi.engine.flare.provision import Address, provision
from envoi.engine.flare.run import deliveries
from envoi.engine.flare.session import Line
from envoi.files import file_digest
from envoi.server.collect import collect, standing
from tests.engine.flare.conftest import approve
from tests.engine.flare.federation import Watch, until
from tests.engine.flare.hospitals import PATIENCE, SITES, Federation

pytestmark = [pytest.mark.flare, pytest.mark.slow, pytest.mark.network]

SLOW_BYTES_PER_SECOND = 100_000


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    made = Federation(tmp_path_factory.mktemp("federation"))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_a_site_killed_in_the_middle_leaves_the_others_untouched_and_delivers_later(federation):
    before = Path("/tmp/nvflare").exists()
    federation.link.bytes_per_second = SLOW_BYTES_PER_SECOND
    with Watch(list(federation.parties.values())) as watch, federation.fetching() as fetch:
        federation.half_sent()
        federation.link.cut()
        federation.parties["north"].kill()
        federation.link.bytes_per_second = None
        until(lambda: all(federation.in_inbox(site) for site in SITES[1:]), 60, "the others' files")
        assert federation.in_inbox("north") == []
        federation.parties["north"].start()
    assert fetch.late == ()
    for site in SITES:
        digest = file_digest(federation.files[site])
        assert federation.in_inbox(site) == [digest]
        until(lambda site=site: federation.confirmed(site), 20, "the confirmation")
        assert federation.confirmed(site) == {digest}
    assert [news for site, news in federation.news if site == "west"][-1].startswith("delivered")
    assert watch.looks > 50
    assert any(kind == "listens" for kind, _ in watch.found)
    assert watch.outside == set()
    assert Path("/tmp/nvflare").exists() == before
    assert list((federation.kits / "server" / "store" / "jobs").iterdir())


def test_the_ordinary_collect_takes_what_came(federation, tmp_path):
    ledger = collect(federation.inbox, tmp_path / "server", study=federation.study)
    assert standing(ledger, federation.study).received == SITES
    assert {entry.reason for entry in ledger.entries} == {""}


def test_a_server_killed_in_the_middle_loses_nothing_that_it_confirmed(federation):
    confirmed = {site: federation.confirmed(site) for site in SITES}
    newer = approve(federation.outbox("north"), federation.study, "north", sequence=2)
    federation.link.bytes_per_second = SLOW_BYTES_PER_SECOND
    with federation.fetching("north") as fetch:
        federation.half_sent()
        federation.parties["server"].kill()
        federation.link.cut()
        federation.link.bytes_per_second = None
        for site in SITES:
            assert confirmed[site] == set(federation.in_inbox(site))
        federation.start_server()
    assert fetch.late == ()
    assert file_digest(newer) in federation.in_inbox("north")
    for site in SITES:
        assert confirmed[site] <= set(federation.in_inbox(site))


def shake_hands(port, context):
    """Whether the server answers who comes with these certificates."""
    with (
        contextlib.suppress(ssl.SSLError, ConnectionError),
        socket.create_connection(("localhost", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as line,
    ):
        line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        return bool(line.recv(1))
    return False


def context_of(startup, *, with_certificate=True):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if with_certificate:
        context.load_cert_chain(startup / "client.crt", startup / "client.key")
    return context


def test_a_stranger_is_refused(federation, tmp_path):
    own = federation.kits / "west" / "startup"
    assert shake_hands(federation.port, context_of(own))
    provision(federation.study_file, tmp_path / "kits", address=Address("localhost", 8002))
    forged = tmp_path / "kits" / "west" / "startup"
    assert not shake_hands(federation.port, context_of(forged))
    assert not shake_hands(federation.port, context_of(own, with_certificate=False))


@pytest.mark.parametrize("what", ["custom code", "another class"])
def test_a_job_that_brings_code_or_names_another_class_gets_nothing(federation, tmp_path, what):
    site, outcomes = "west", federation.kits / "server" / "outcomes" / SUBMISSIONS.label
    files, ending = federation.in_inbox(site), last_outcome(outcomes, site)
    folder = write_job(tmp_path, site, watch_seconds=PATIENCE.watch_seconds)
    if what == "custom code":
        custom = folder / "site" / "custom"
        custom.mkdir()
        (custom / "leak.py").write_text("")
    else:
        config = folder / "site" / "config" / "config_fed_client.json"
        named = json.loads(config.read_text())
        named["executors"][0]["executor"]["path"] = (
            "nvflare.app_common.executors.statistics.statistics_executor.StatisticsExecutor"
        )
        config.write_text(json.dumps(named))
    line = Line(federation.coordinator)
    job = line.submit(folder)
    told = (
        f"{site}: NVFLARE_ERROR: BYOC not permitted"
        if what == "custom code"
        else f"Failing job {job} due to reported failure from {site}"
    )
    log = federation.kits / "server" / "log.txt"
    until(lambda: told in log.read_text(), 60, "the server's word on the job")
    until(lambda: site not in line.unfinished_jobs(SUBMISSIONS), 60, "the job's end")
    line.close()
    if what == "another class":
        own = (federation.kits / site / job / "log.txt").read_text()
        assert "StatisticsExecutor' at config path" in own
        assert "is not in allow_list" in own
    assert federation.in_inbox(site) == files
    after = last_outcome(outcomes, site)
    assert after == ending or (after.job, after.outcome) == (job, Outcome.SILENT)


def test_a_site_that_left_is_shut_out(federation):
    line = Line(federation.coordinator)
    line.shut_out("west")
    until(lambda: "west" not in line.connected_sites(), 30, "the west to be gone")
    line.let_in("west")
    line.close()
    federation.wait_for("west")


def test_status_tells_who_is_connected(federation):
    found = {
        delivery.site: delivery
        for delivery in deliveries(federation.coordinator, federation.server)
    }
    assert set(found) == set(SITES)
    assert all(delivery.connected and delivery.file for delivery in found.values())
