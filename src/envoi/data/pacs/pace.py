"""Requests at a rate that spares the archive, and another try when it goes away for a while."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from envoi.data.pacs.source import PacsGoneError, Result
from envoi.errors import Problem, SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How an archive is spared, and how long it is waited for.

    Attributes:
        per_second: Requests in a second at the most, be it an image, a page of answers or the
            query of one series.
        tries: How often a request that was interrupted is made, the first time included.
        first_wait_seconds: Before the second try; doubles with each further one.
        longest_wait_seconds: No wait is longer, whatever the archive asks for.
    """

    per_second: float = 5.0
    tries: int = 6
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not 0.001 <= self.per_second <= 1000:
            remedy = "Choose a number such as 5; 0.1 is one request in ten seconds."
            problem = Problem("0.001 to 1000", f"{self.per_second:g}", "per-second", remedy)
            raise SettingsError(problem)
        if self.tries < 1:
            remedy = "Give 1 to try once."
            raise SettingsError(Problem("at least 1", f"{self.tries}", "tries", remedy))


class Pace:
    """Makes requests under a `Patience`.

    Args:
        patience: The rate and the waits.
        on_wait: Told about each wait for an archive that went away, in seconds.
        clock: A clock that never goes back.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        patience: Patience,
        on_wait: Callable[[float], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience = patience
        self._on_wait = on_wait
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    def make(self, request: Callable[[], Result]) -> Result:
        """What one request of the wire gives, in its turn; it is made again after interruptions.

        Raises:
            PacsGoneError: The archive did not come back.
        """
        wait = self._patience.first_wait_seconds
        for number in range(1, self._patience.tries + 1):
            try:
                return self.make_once(request)
            except PacsGoneError as err:
                if number == self._patience.tries:
                    raise
                seconds = min(max(wait, err.after_seconds), self._patience.longest_wait_seconds)
            self._on_wait(seconds)
            self._sleep(seconds)
            wait *= 2
        raise AssertionError("unreachable")

    def make_once(self, request: Callable[[], Result]) -> Result:
        """What one request gives, in its turn, whatever comes of it."""
        self._wait_for_turn()
        return request()

    def _wait_for_turn(self) -> None:
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
            now = self._next
        self._next = now + 1 / self._patience.per_second
