"""The coordinator's part: a job for each hospital that has not delivered, and again if one failed.

The same for what goes the other way (`envoi.engine.flare.send`): a job for each that lacks it.

Every site goes its own way. One that is not connected is waited for; one whose job ended without a
file gets another one after a pause that grows; the server may restart in between. A job that an
earlier run left behind is adopted, not doubled. What counts as delivered is a file in the server's
inbox, and for a student the site's answer as noted in the server's kit; not what FLARE remembers.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envoi.engine.flare import require_flare
from envoi.engine.flare.cargo import SUBMISSIONS, Cargo, Kind
from envoi.engine.flare.inbox import Outcome, delivered, last_outcome, outcomes_of
from envoi.engine.flare.jobs import WATCH_SECONDS, write_job
from envoi.engine.flare.kit import Kit, Role
from envoi.engine.flare.session import Line, LineDownError
from envoi.engine.flare.students import student_path
from envoi.errors import Problem, SettingsError

OnNews = Callable[[str, str], None]
_UNSEEN_LOOKS = 3
_TOLD = {
    Kind.SUBMISSION: "asked for its file",
    Kind.EVALUATION: "asked for its evaluation",
    Kind.WITHDRAWAL: "asked for a notice of withdrawal",
    Kind.STUDENT: "the student is on its way",
}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things are waited for.

    Attributes:
        wait_seconds: For all deliveries together.
        poll_seconds: Between two looks.
        retry_seconds: Before a failed site is asked again; doubles up to `longest_retry_seconds`.
        longest_retry_seconds: Longest pause.
        watch_seconds: A site without a sign of life for so long is taken to be dead.
    """

    wait_seconds: float
    poll_seconds: float = 2.0
    retry_seconds: float = 15.0
    longest_retry_seconds: float = 900.0
    watch_seconds: float = WATCH_SECONDS


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a site stands.

    Attributes:
        site: Its id.
        file: In the inbox, or the student that it got; or None.
        connected: Whether its process is connected to the server; None if nobody knows.
        ending: How its last job ended, or None.
    """

    site: str
    file: str | None
    connected: bool | None
    ending: str | None


@dataclass(slots=True)
class _Errand:
    """One site that is to deliver, or to get something."""

    site: str
    had: frozenset[str]
    job: str | None = None
    gone_since: float | None = None
    not_before: float = 0.0
    pause: float = 0.0
    told: str = field(default="")


def deliveries(coordinator: Kit, server: Kit, cargo: Cargo = SUBMISSIONS) -> list[Delivery]:
    """Where every site of the roster stands.

    Args:
        coordinator: Asks the server who is connected.
        server: On this machine.
        cargo: What sites are to deliver, or to get.

    Raises:
        MissingExtraError: FLARE is not installed.
        SettingsError: A kit is another one's.
        StorageError: The server's inbox cannot be read.
    """
    require_flare()
    check_parties(coordinator, server, ())
    line = Line(coordinator)
    try:
        connected: set[str] | None = line.connected_sites()
    except LineDownError:
        connected = None
    finally:
        line.close()
    found, outcomes = [], outcomes_of(server, cargo)
    for site in sorted(server.study.sites):
        files, ending = _done(server, cargo, site), last_outcome(outcomes, site)
        is_connected = None if connected is None else site in connected
        told = None if ending is None else f"{ending.outcome}"
        found.append(Delivery(site, files[-1] if files else None, is_connected, told))
    return found


def run(
    coordinator: Kit,
    server: Kit,
    cargo: Cargo = SUBMISSIONS,
    *,
    sites: Sequence[str] = (),
    patience: Patience,
    on_news: OnNews,
) -> tuple[str, ...]:
    """Carry the cargo from or to each site; the sites where that is not done when time is up.

    Args:
        coordinator: Signs the jobs.
        server: On this machine; it tells who has delivered. Holds the student that is sent.
        cargo: What is carried. Of notices of withdrawal "none" is an answer too.
        sites: That are asked even if they have delivered before, for a newer file; without any, all
            that have not.
        patience: How long.
        on_news: Called with a site's id and a line about it.

    Raises:
        MissingExtraError: FLARE is not installed.
        SettingsError: A kit is another one's, or a site is not in the roster.
        StorageError: The inbox cannot be read.
    """
    require_flare()
    check_parties(coordinator, server, sites)
    line, end = Line(coordinator), time.monotonic() + patience.wait_seconds
    courier = _Courier(cargo, server, line, patience, on_news)
    errands = courier.errands(sites)
    try:
        while errands and time.monotonic() < end:
            try:
                courier.look(errands)
            except LineDownError as err:
                news = f"the server does not answer ({err.problems[0].found})"
                for errand in errands.values():
                    courier.tell(errand, news)
            if errands:
                time.sleep(patience.poll_seconds)
    finally:
        line.close()
    return tuple(errands)


def check_parties(coordinator: Kit, server: Kit, sites: Sequence[str]) -> None:
    """Require the two kits to be what they are given for, and the sites to be the study's.

    Raises:
        SettingsError: One is not.
    """
    for kit, role, option in (
        (coordinator, Role.COORDINATOR, "--coordinator"),
        (server, Role.SERVER, "--server"),
    ):
        if kit.role is not role:
            what = role.name.lower()
            remedy = f"Give the kit `{what}` that `envoi flare provision` made."
            raise SettingsError(Problem(f"the kit of the {what}", kit.root.name, option, remedy))
    for site in sites:
        if site not in server.study.sites:
            known = ", ".join(sorted(server.study.sites))
            found, remedy = ascii(site)[:80], "Name one of those."
            raise SettingsError(Problem(f"a site of the roster ({known})", found, "--site", remedy))


@dataclass(frozen=True, slots=True)
class _Courier:
    """One cargo on its ways."""

    cargo: Cargo
    server: Kit
    line: Line
    patience: Patience
    on_news: OnNews

    def errands(self, sites: Sequence[str]) -> dict[str, _Errand]:
        """What is to be done: for `sites`, or for all where it has not been done."""
        known = {
            site: _done(self.server, self.cargo, site) for site in sorted(self.server.study.sites)
        }
        open_ones = [site for site, had in known.items() if self.cargo.is_optional or not had]
        for site, had in known.items():
            if not sites and site not in open_ones:
                self.on_news(site, f"delivered before: {had[-1]}")
        return {site: _Errand(site, frozenset(known[site])) for site in sites or open_ones}

    def look(self, errands: dict[str, _Errand]) -> None:
        """One look at all sites; errands that are done are taken out."""
        jobs, connected = self.line.unfinished_jobs(self.cargo), self.line.connected_sites()
        for site, errand in list(errands.items()):
            running = jobs.get(site)
            if running is not None:
                errand.job, errand.gone_since = running, None
                self.tell(errand, _TOLD[self.cargo.kind])
            elif errand.job is not None:
                if self._is_over(errand) and self._is_done(errand):
                    del errands[site]
            elif time.monotonic() >= errand.not_before:
                self._start(errand, is_connected=site in connected)

    def tell(self, errand: _Errand, news: str) -> None:
        """Say what is new."""
        if news != errand.told:
            errand.told = news
            self.on_news(errand.site, news)

    def _start(self, errand: _Errand, *, is_connected: bool) -> None:
        if not is_connected:
            self.tell(errand, "not connected")
            return
        watch = self.patience.watch_seconds
        with tempfile.TemporaryDirectory() as folder:
            place = write_job(Path(folder), errand.site, self.cargo, watch_seconds=watch)
            errand.job = self.line.submit(place)
        self.tell(errand, _TOLD[self.cargo.kind])

    def _is_over(self, errand: _Errand) -> bool:
        """Whether a job that the server does not show has ended; one that starts is not shown."""
        if self._outcome(errand) is not Outcome.SILENT:
            return True
        now = time.monotonic()
        if errand.gone_since is None:
            errand.gone_since = now
        return now - errand.gone_since >= _UNSEEN_LOOKS * self.patience.poll_seconds

    def _is_done(self, errand: _Errand) -> bool:
        """Whether the job that is over was the last; plans the next one if it was not."""
        outcome, files = self._outcome(errand), _done(self.server, self.cargo, errand.site)
        errand.job = errand.gone_since = None
        if outcome is Outcome.DELIVERED or set(files) - errand.had:
            self.on_news(errand.site, self._news(errand, files) if files else f"{outcome}")
            return True
        if outcome is Outcome.NOTHING and self.cargo.is_optional:
            self.on_news(errand.site, f"{outcome}")
            return True
        longest = self.patience.longest_retry_seconds
        errand.pause = min(longest, 2 * errand.pause or self.patience.retry_seconds)
        errand.not_before = time.monotonic() + errand.pause
        again = "sent again" if self.cargo.kind is Kind.STUDENT else "asked again"
        self.tell(errand, f"{outcome}; {again} in {errand.pause:.0f} seconds")
        return False

    def _news(self, errand: _Errand, files: Sequence[str]) -> str:
        """Of an errand that is done; files are named by content, so that equal ones are seen."""
        if self.cargo.kind is Kind.STUDENT or set(files) - errand.had:
            return f"delivered {files[-1]}"
        return f"delivered what it had before, {files[-1]}; its log tells whether a newer is wrong"

    def _outcome(self, errand: _Errand) -> Outcome:
        """How the errand's job ended, as far as it has told."""
        ending = last_outcome(outcomes_of(self.server, self.cargo), errand.site)
        return Outcome.SILENT if ending is None or ending.job != errand.job else ending.outcome


def _done(server: Kit, cargo: Cargo, site: str) -> list[str]:
    """Names of the files that a site has delivered or got, the latest last."""
    if cargo.kind is not Kind.STUDENT:
        return delivered(server.mailbox, site, cargo)
    ending = last_outcome(outcomes_of(server, cargo), site)
    has_it = ending is not None and ending.outcome is Outcome.DELIVERED
    return [student_path(server.students, cargo.student).name] if has_it else []
