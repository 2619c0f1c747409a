"""The coordinator's part: a job for each hospital that has not delivered, and again if one failed.

Every site goes its own way. One that is not connected is waited for; one whose job ended without a
file gets another one after a pause that grows; the server may restart in between. A job that an
earlier run left behind is adopted, not doubled. What counts as delivered is a file in the server's
inbox, not what FLARE remembers.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envoi.engine.flare import require_flare
from envoi.engine.flare.inbox import Outcome, delivered, last_outcome
from envoi.engine.flare.jobs import WATCH_SECONDS, write_job
from envoi.engine.flare.kit import OUTCOMES, Kit, Role
from envoi.engine.flare.session import Line, LineDownError
from envoi.errors import Problem, SettingsError

OnNews = Callable[[str, str], None]
_UNSEEN_LOOKS = 3


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
        file: In the inbox, or None.
        connected: Whether its process is connected to the server; None if nobody knows.
        ending: How its last job ended, or None.
    """

    site: str
    file: str | None
    connected: bool | None
    ending: str | None


@dataclass(slots=True)
class _Errand:
    """One site that is to deliver."""

    site: str
    had: frozenset[str]
    job: str | None = None
    gone_since: float | None = None
    not_before: float = 0.0
    pause: float = 0.0
    told: str = field(default="")


def deliveries(coordinator: Kit, server: Kit) -> list[Delivery]:
    """Where every site of the roster stands.

    Raises:
        MissingExtraError: FLARE is not installed.
        StorageError: The server's inbox cannot be read.
    """
    require_flare()
    line = Line(coordinator)
    try:
        connected: set[str] | None = line.connected_sites()
    except LineDownError:
        connected = None
    finally:
        line.close()
    found = []
    for site in sorted(server.study.sites):
        files, ending = delivered(server.mailbox, site), last_outcome(server.root / OUTCOMES, site)
        is_connected = None if connected is None else site in connected
        told = None if ending is None else f"{ending.outcome}"
        found.append(Delivery(site, files[-1] if files else None, is_connected, told))
    return found


def run(
    coordinator: Kit,
    server: Kit,
    *,
    sites: Sequence[str] = (),
    patience: Patience,
    on_news: OnNews,
) -> tuple[str, ...]:
    """Fetch the file of each site; the sites that have not delivered when time is up.

    Args:
        coordinator: Signs the jobs.
        server: On this machine; its inbox tells who has delivered.
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
    _check(coordinator, server, sites)
    known = {site: frozenset(delivered(server.mailbox, site)) for site in server.study.sites}
    wanted = sites or [site for site in sorted(known) if not known[site]]
    errands = {site: _Errand(site, known[site]) for site in wanted}
    line, end = Line(coordinator), time.monotonic() + patience.wait_seconds
    try:
        while errands and time.monotonic() < end:
            try:
                _step(errands, line, server, patience, on_news)
            except LineDownError as err:
                _tell_all(errands, f"the server does not answer ({err.problems[0].found})", on_news)
            if errands:
                time.sleep(patience.poll_seconds)
    finally:
        line.close()
    return tuple(errands)


def _check(coordinator: Kit, server: Kit, sites: Sequence[str]) -> None:
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


def _step(
    errands: dict[str, _Errand], line: Line, server: Kit, patience: Patience, on_news: OnNews
) -> None:
    """One look at all sites."""
    jobs, connected = line.unfinished_jobs(), line.connected_sites()
    for site, errand in list(errands.items()):
        running = jobs.get(site)
        if running is not None:
            errand.job, errand.gone_since = running, None
            _tell(errand, "asked for its file", on_news)
        elif errand.job is not None:
            if _is_over(errand, server, patience) and _has_delivered(
                errand, server, patience, on_news
            ):
                del errands[site]
        elif time.monotonic() >= errand.not_before:
            if site not in connected:
                _tell(errand, "not connected", on_news)
                continue
            with tempfile.TemporaryDirectory() as folder:
                place = write_job(Path(folder), site, watch_seconds=patience.watch_seconds)
                errand.job = line.submit(place)
            _tell(errand, "asked for its file", on_news)


def _is_over(errand: _Errand, server: Kit, patience: Patience) -> bool:
    """Whether a job that the server does not show has ended; one that is starting is not shown."""
    if _outcome(errand, server) is not Outcome.SILENT:
        return True
    now = time.monotonic()
    if errand.gone_since is None:
        errand.gone_since = now
    return now - errand.gone_since >= _UNSEEN_LOOKS * patience.poll_seconds


def _outcome(errand: _Errand, server: Kit) -> Outcome:
    """How the errand's job ended, as far as it has told."""
    ending = last_outcome(server.root / OUTCOMES, errand.site)
    return Outcome.SILENT if ending is None or ending.job != errand.job else ending.outcome


def _has_delivered(errand: _Errand, server: Kit, patience: Patience, on_news: OnNews) -> bool:
    """Whether the job that is over has brought a file; plans the next one if it has not."""
    outcome, files = _outcome(errand, server), delivered(server.mailbox, errand.site)
    errand.job = errand.gone_since = None
    if outcome is Outcome.DELIVERED or set(files) - errand.had:
        on_news(errand.site, f"delivered {files[-1]}" if files else f"{Outcome.DELIVERED}")
        return True
    longest = patience.longest_retry_seconds
    errand.pause = min(longest, 2 * errand.pause or patience.retry_seconds)
    errand.not_before = time.monotonic() + errand.pause
    _tell(errand, f"{outcome}; asked again in {errand.pause:.0f} seconds", on_news)
    return False


def _tell(errand: _Errand, news: str, on_news: OnNews) -> None:
    """Say what is new."""
    if news != errand.told:
        errand.told = news
        on_news(errand.site, news)


def _tell_all(errands: dict[str, _Errand], news: str, on_news: OnNews) -> None:
    for errand in errands.values():
        _tell(errand, news, on_news)
