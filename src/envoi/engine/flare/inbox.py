"""The server's side of a delivery: a file in the inbox, and how the last job of a site ended.

A file is named after its site and its content, so that the same bytes twice are one file. The name
is the engine's; what the file is and whose it is, `envoi server collect` and `envoi server
evaluations` read from its signature.
"""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from envoi.engine.flare.cargo import SUBMISSIONS, Cargo
from envoi.engine.flare.kit import OUTCOMES, Kit
from envoi.errors import Problem, StorageError
from envoi.files import digest, file_digest, read_text, write_bytes, write_json


class Outcome(StrEnum):
    """How a job ended, in words for the coordinator."""

    DELIVERED = "delivered"
    NOTHING = "nothing approved in its outbox yet"
    REFUSED = "its file is not valid; the site's log says why"
    UNTAKEN = "did not take the student; the site's log says why"
    STOPPED = "stopped by the site's filter; the site's log says why"
    OVERSIZED = "sent more than such a file of this study can hold"
    UNKEPT = "the server could not keep its file; look at the server's disk and log"
    FAILED = "the site could not answer; its log says why"
    SILENT = "no answer"


class Ending(BaseModel):
    """How the last job of a site ended.

    Attributes:
        job: FLARE's id of it.
        outcome: How it ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str
    outcome: Outcome


def deliver(content: bytes, inbox: Path, site: str, cargo: Cargo = SUBMISSIONS) -> str:
    """Put a site's file into the inbox, durable before this returns; its SHA-256.

    Raises:
        StorageError: The inbox cannot be written.
    """
    found = digest(content)
    path = inbox / cargo.inbox_name(site, found)
    if not path.is_file() or file_digest(path) != found:
        write_bytes(path, content)
    return found


def delivered(inbox: Path, site: str, cargo: Cargo = SUBMISSIONS) -> list[str]:
    """Names of the files that this engine brought from `site`, the latest last.

    Raises:
        StorageError: The inbox cannot be read.
    """
    try:
        files = [path for path in inbox.iterdir() if cargo.is_inbox_name(path.name, site)]
        return [path.name for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]
    except FileNotFoundError:
        return []
    except OSError as err:
        remedy = "Make the inbox readable."
        found = err.strerror or "an error"
        raise StorageError(Problem("a readable inbox", found, inbox.name, remedy)) from err


def outcomes_of(server: Kit, cargo: Cargo) -> Path:
    """The folder of the server's kit that tells how the last jobs with this cargo ended."""
    return server.root / OUTCOMES / cargo.label


def note_outcome(folder: Path, site: str, *, job: str, outcome: Outcome) -> None:
    """Note how a job of `site` ended, in place of its last one.

    Raises:
        StorageError: The folder cannot be written.
    """
    write_json(folder / f"{site}.json", {"job": job, "outcome": outcome})


def last_outcome(folder: Path, site: str) -> Ending | None:
    """How the last job of `site` ended, or None before the first.

    Raises:
        StorageError: The note is damaged.
    """
    path, what = folder / f"{site}.json", "how a job ended"
    if not path.exists():
        return None
    remedy = "Remove it; it is written anew by the next job."
    try:
        return Ending.model_validate_json(read_text(path, what=what, remedy=remedy))
    except ValidationError as err:
        raise StorageError(Problem(what, "something else", path.name, remedy)) from err
