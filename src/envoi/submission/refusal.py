"""How a refusal is worded: one line, and nothing of a stranger's bytes but a short, safe form.

What a hostile file says about itself (names, keys, values) may hold terminal escapes, line
breaks or megabytes; every message passes it through `shown`.
"""

import re

from envoi.errors import Problem, SubmissionError

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_LIMIT = 60
OTHER_SIZE = (
    "Copy the file again; if its size stays, it belongs to another study: compare digests with "
    "the site (`envoi study check`)."
)


def shown(value: object) -> str:
    """`value` in printable ASCII, at most some 60 characters, in quotes if it is text."""
    # Cut before it is escaped: escaping megabytes to show sixty characters is a free weapon.
    text = ascii(value[:_LIMIT] if isinstance(value, str) else value)
    return text if len(text) <= _LIMIT else f"{text[: _LIMIT - 3]}..."


def shown_name(name: str) -> str:
    """A file's name as it is when it is plain, else as `shown`."""
    return name if _PLAIN.fullmatch(name) else shown(name)


def refused(
    where: str,
    expected: str,
    found: str,
    remedy: str = "Ask the site to write the file again with `envoi site submit`.",
    *,
    kind: type[SubmissionError] = SubmissionError,
) -> SubmissionError:
    """The error that refuses a file; `where` and `found` are safe to print already."""
    return kind(Problem(expected, found, where, remedy))
