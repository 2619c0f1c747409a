"""Does anything that identifies somebody stand in what a site sends?

The manifest has no field for free text, so nothing can; this looks all the same, for the names of
the machine and its user, and for whatever the site knows of its patients.
"""

import getpass
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from envoi.errors import CheckError, Problem

SHORTEST = 4
"""Shorter words stand in any text by chance."""


def machine_names() -> set[str]:
    """What this machine and its user are called, as far as the system says."""
    names = {Path.home().name}
    with suppress(OSError):
        names |= {socket.gethostname(), socket.gethostname().partition(".")[0]}
    with suppress(OSError, KeyError, ImportError):
        names.add(getpass.getuser())
    return {name for name in names if len(name) >= SHORTEST}


def check_nobody_named(text: str, identifiers: Iterable[str], *, allowed: Iterable[str]) -> int:
    """Require that no identifier stands in a text as a word of its own, whatever its case.

    Args:
        text: All that a file says in words and numbers.
        identifiers: That must not be in it; those shorter than four characters are not looked for.
        allowed: Words that may, such as the site's id.

    Returns:
        How many were looked for.

    Raises:
        CheckError: Some are in it; they are counted and not told.
    """
    spared = {word.casefold() for word in allowed}
    wanted = {word.strip().casefold() for word in identifiers}
    wanted = {word for word in wanted if len(word) >= SHORTEST and word not in spared}
    content = text.casefold()
    found = [
        word
        for word in wanted
        if word in content and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", content)
    ]
    if found:
        remedy = "Do not send the file; find out how they came into it, and tell us."
        raise CheckError(Problem("no identifier in the file", f"{len(found)}", "file", remedy))
    return len(wanted)
