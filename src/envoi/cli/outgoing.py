"""Where a command puts the one file that it writes for the server."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from envoi.errors import Problem

# Text, since a path forgets the '/' that makes a folder of it.
FileOption = Annotated[
    str, typer.Option("--out", metavar="PATH", help="The file to write, or a folder for it.")
]


def new_file(out: str, name: str, *, ending: str = "", remedy: str = "") -> Path:
    """The file `out`, or `name` in the folder `out`, which need not exist if it ends in '/'.

    Args:
        out: What the user gave.
        name: Of the file in a folder.
        ending: What the name of the file must end in; empty takes any.
        remedy: Where it ends in something else.

    Raises:
        SettingsError: The name ends in something else, or is that of a folder that is not there.
        StorageError: There is such a file.
    """
    from envoi.errors import Problem, SettingsError, StorageError

    is_folder = out.endswith(("/", os.sep)) or Path(out).is_dir()
    file = Path(out) / name if is_folder else Path(out)
    if not file.name.endswith(ending):
        raise SettingsError(_problem_of_name(file, ending, remedy))
    if file.exists():
        remedy = "Choose another name, or move the old file away."
        raise StorageError(Problem("a new file", "an existing one", file.name, remedy))
    return file


def submission_file(out: str, name: str, *, encrypted: bool) -> Path:
    """`new_file` of a submission; an encrypted one is called NAME.age, and no other is.

    Raises:
        SettingsError: Under that name it would pass for an open one, or the other way.
        StorageError: There is such a file.
    """
    from envoi.errors import Problem, SettingsError
    from envoi.submission.encryption import SUFFIX

    remedy = "Choose another name, or give a folder."
    if encrypted:
        return new_file(out, f"{name}{SUFFIX}", ending=SUFFIX, remedy=f"It is encrypted. {remedy}")
    file = new_file(out, name)
    if file.name.endswith(SUFFIX):
        expected, found = f"one that does not end in {SUFFIX}", "a file that is not encrypted"
        raise SettingsError(Problem(expected, found, "--out", remedy))
    return file


def _problem_of_name(file: Path, ending: str, remedy: str) -> "Problem":
    """A name without any ending is meant for a folder."""
    from envoi.errors import Problem

    if file.suffix or file.exists():
        return Problem(f"a name that ends in {ending}", file.name, "--out", remedy)
    remedy = "Make the folder first, or end its name in '/' to have it made."
    expected = f"a folder that exists, or a name that ends in {ending}"
    return Problem(expected, "no folder of that name", "--out", remedy)
