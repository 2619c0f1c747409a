"""A server and its hospitals with kits and real processes, and `run` beside them."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from envoi.engine.flare.cargo import SUBMISSIONS
from envoi.engine.flare.inbox import delivered
from envoi.engine.flare.kit import load_kit
from envoi.engine.flare.provision import Address, provision
from envoi.engine.flare.run import Patience, run
from envoi.engine.flare.session import Line, LineDownError
from envoi.files import file_digest
from envoi.study import write_study
from tests.engine.flare.conftest import SIGNING, approve, study_of
from tests.engine.flare.federation import Party, Relay, free_port, is_open, until

SITES = ("north", "south-clinic", "west")
PATIENCE = Patience(
    wait_seconds=120, poll_seconds=0.5, retry_seconds=1, longest_retry_seconds=2, watch_seconds=12
)


class Federation:
    """The kits, their processes, and the link of the north; `sites` are those that take part."""

    def __init__(self, root: Path, sites: Sequence[str] = SITES) -> None:
        self.study, self.root, self.port = study_of(**SIGNING), root, free_port()
        self.sites = tuple(sites)
        self.study_file = root / "study.toml"
        write_study(self.study_file, self.study)
        self.kits = root / "kits"
        provision(self.study_file, self.kits, address=Address("localhost", self.port))
        self.link = Relay(self.port)
        self._route("north", self.link.port)
        self._hasten()
        self.files = {site: approve(self.outbox(site), self.study, site) for site in sites}
        self.parties = {name: Party(self.kits / name) for name in ("server", *sites)}
        self.server = load_kit(self.kits / "server")
        self.coordinator = load_kit(self.kits / "coordinator")
        self.news: list[tuple[str, str]] = []

    def _route(self, site: str, port: int) -> None:
        startup = self.kits / site / "startup" / "fed_client.json"
        settings = json.loads(startup.read_text())
        settings["servers"][0]["service"]["target"] = f"localhost:{port}"
        startup.write_text(json.dumps(settings))

    def _hasten(self) -> None:
        """Half a file is given up after five seconds in place of sixty."""
        path = self.kits / "server" / "local" / "comm_config.json"
        settings = json.loads(path.read_text())
        assert settings["streaming_read_timeout"] == 60
        path.write_text(json.dumps({**settings, "streaming_read_timeout": 5}))

    def start(self) -> None:
        self.start_server()
        for site in self.sites:
            self.parties[site].start()
        self.wait_for(*self.sites)

    def start_server(self) -> None:
        self.parties["server"].start()
        until(lambda: is_open(self.port), 60, "the server's port")

    def wait_for(self, *sites: str) -> None:
        line = Line(self.coordinator)

        def are_connected():
            try:
                return set(sites) <= line.connected_sites()
            except LineDownError:
                return False

        until(are_connected, 60, f"{sites} to connect")
        line.close()

    def stop(self) -> None:
        for party in self.parties.values():
            if party.process is not None:
                party.kill()
        self.link.close()

    def outbox(self, site: str) -> Path:
        return self.kits / site / "outbox"

    @property
    def inbox(self) -> Path:
        return self.kits / "server" / "inbox"

    def in_inbox(self, site: str, cargo=SUBMISSIONS) -> list[str]:
        return [file_digest(self.inbox / name) for name in delivered(self.inbox, site, cargo)]

    def confirmed(self, site: str) -> set[str]:
        folder = self.kits / site / "confirmed"
        return {json.loads(path.read_text())["sha256"] for path in folder.glob("*.json")}

    def fetching(self, *sites: str) -> "Fetch":
        return Fetch(self, sites)

    def half_sent(self) -> None:
        """Wait until half of the north's file has passed its slow link."""
        before, half = self.link.passed, self.files["north"].stat().st_size / 2
        until(lambda: self.link.passed > before + half, 60, "half of the north's file")


class Fetch:
    """`run` in a thread; `late` afterwards."""

    def __init__(self, federation: Federation, sites) -> None:
        self.late = None
        arguments = {"sites": sites, "patience": PATIENCE}

        def fetch():
            self.late = run(
                federation.coordinator,
                federation.server,
                on_news=lambda *news: federation.news.append(news),
                **arguments,
            )

        self.thread = threading.Thread(target=fetch, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.thread.join(150)
