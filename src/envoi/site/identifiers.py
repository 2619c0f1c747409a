"""Does anything that identifies somebody stand in what a site sends?

The manifest has no field for free text, so nothing can; this looks all the same, for the names of
the machine and its user, and for whatever the site knows of its patients.
"""

import getpass
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from envoi.errors import CheckError, Problem

SHORTEST = 4
"""Shorter words stand in any text by chance."""


@dataclass(frozen=True, slots=True)
class Searched:
    """How many names were looked for, each counted once.

    Attributes:
        sought: That were looked for, and not found.
        short: That were not, since they have fewer than four characters.
        spared: That were not, since they may be there.
    """

    sought: int
    short: int
    spared: int

    def __str__(self) -> str:
        total = self.sought + self.short + self.spared
        left_out = [
            *([f"{self.short} too short"] if self.short else []),
            *([f"{self.spared} the site's id"] if self.spared else []),
        ]
        why = f" ({', '.join(left_out)})" if left_out else ""
        found = ", none is in the file" if self.sought else ""
        return f"{self.sought} of {total} looked for{why}{found}"


def machine_names() -> set[str]:
    """What this machine and its user are called, as far as the system says."""
    names = {Path.home().name}
    with suppress(OSError):
        names |= {socket.gethostname(), socket.gethostname().partition(".")[0]}
    with suppress(OSError, KeyError, ImportError):
        names.add(getpass.getuser())
    return {name for name in names if name}


def check_nobody_named(
    text: str, identifiers: Iterable[str], *, allowed: Iterable[str]
) -> Searched:
    """Require that no identifier stands in a text as a word of its own, whatever its case.

    Args:
        text: All that a file says in words and numbers.
        identifiers: That must not be in it; those shorter than four characters are not looked for.
        allowed: Words that may, such as the site's id.

    Raises:
        CheckError: Some are in it; they are counted and not told.
    """
    spared = {word.casefold() for word in allowed}
    known = {word.strip().casefold() for word in identifiers} - {""}
    short = {word for word in known if len(word) < SHORTEST}
    wanted, content = known - short - spared, text.casefold()
    found = [
        word
        for word in wanted
        if word in content and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", content)
    ]
    if found:
        remedy = "Do not send the file; find out how they came into it, and tell us."
        raise CheckError(Problem("no identifier in the file", f"{len(found)}", "file", remedy))
    return Searched(len(wanted), len(short), len((known & spared) - short))
