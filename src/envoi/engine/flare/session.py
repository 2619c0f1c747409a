"""The coordinator's line to the server: FLARE's admin API, by which a server may restart.

FLARE tells of a lost line by a dozen exceptions of several families; here there is one.
"""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from envoi.engine.flare.cargo import Cargo
from envoi.engine.flare.jobs import job_prefix
from envoi.engine.flare.kit import Kit
from envoi.engine.flare.provision import COORDINATOR
from envoi.errors import Problem, StorageError

Answer = TypeVar("Answer")
_LOGIN_SECONDS = 10.0
_WAITING = frozenset({"SUBMITTED", "APPROVED"})


class LineDownError(StorageError):
    """The server cannot be reached now."""


class Line:
    """A session with the server, opened when it is needed and opened again when it was lost.

    Args:
        kit: The coordinator's.
    """

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._session: Any = None

    def connected_sites(self) -> set[str]:
        """Sites whose process has a connection to the server.

        Raises:
            LineDownError: The server cannot be reached.
        """
        return {client.name for client in self._ask(lambda s: s.get_connected_client_list())}

    def unfinished_jobs(self, cargo: Cargo) -> dict[str, str]:
        """Jobs with this cargo that wait or run, by site.

        A job that ran when the server was killed says "RUNNING" for ever (FLARE 2.9); what runs is
        asked of the server's processes.

        Raises:
            LineDownError: The server cannot be reached.
        """
        running = {f"{job.job_id}" for job in self._ask(lambda s: s.get_system_info()).job_info}
        found, prefix = {}, job_prefix(cargo)
        for job in self._ask(lambda session: session.list_jobs()):
            name, number = f"{job['job_name']}", f"{job['job_id']}"
            is_unfinished = f"{job['status']}" in _WAITING or number in running
            if name.startswith(prefix) and is_unfinished:
                found[name.removeprefix(prefix)] = number
        return found

    def submit(self, folder: Path) -> str:
        """Submit the job in `folder`; its id.

        Raises:
            LineDownError: The server cannot be reached.
        """
        return str(self._ask(lambda session: session.submit_job(f"{folder}")))

    def shut_out(self, site: str) -> None:
        """Refuse the site's process from now on, over restarts of the server too.

        Raises:
            LineDownError: The server cannot be reached.
        """
        self._ask(lambda session: session.disable_client(site))

    def let_in(self, site: str) -> None:
        """Take back `shut_out`.

        Raises:
            LineDownError: The server cannot be reached.
        """
        self._ask(lambda session: session.enable_client(site))

    def close(self) -> None:
        """Log out."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Exception), _quiet():
                session.close()

    def _ask(self, question: Callable[[Any], Answer]) -> Answer:
        # FLARE raises bare Exceptions for a lost line; there is no narrower family to catch.
        try:
            with _quiet():
                if self._session is None:
                    self._session = _logged_in(self._kit)
                return question(self._session)
        except Exception as err:
            self.close()
            found = f"{type(err).__name__}: {err}"[:200]
            remedy = "Start the server with `envoi flare start`, and look at its log."
            raise LineDownError(
                Problem("an answer of the server", found, "server", remedy)
            ) from err


def _logged_in(kit: Kit) -> Any:  # noqa: ANN401  (FLARE is not typed)
    from nvflare.fuel.flare_api.flare_api import new_secure_session  # noqa: PLC0415

    return new_secure_session(COORDINATOR, f"{kit.root}", timeout=_LOGIN_SECONDS)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """FLARE prints what it does."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
