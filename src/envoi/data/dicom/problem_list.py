"""A list of files and what is wrong with each, for whoever has to mend them: it names files.

Messages count files, because a name may identify a patient and messages are passed on. This list
is written only where it is asked for, is readable by its owner alone, and stays at the hospital.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from envoi.errors import Problem, StorageError
from envoi.files import write_bytes

_COLUMNS = ("file", "expected", "found", "place", "remedy")
_FIRST = ",".join(_COLUMNS)


@dataclass(slots=True)
class ProblemList:
    """What was wrong so far; a repr shows no file."""

    entries: list[tuple[Path, Problem]] = field(default_factory=list, repr=False)

    def add(self, path: Path, problems: Iterable[Problem]) -> None:
        """Keep what is wrong with a file."""
        self.entries += [(path, problem) for problem in problems]


@contextmanager
def listing(file: Path | None) -> Iterator[ProblemList]:
    """A list that is written in the end, whatever happens meanwhile; nowhere if `file` is None.

    It takes the place of an earlier list, and of nothing else.

    Raises:
        StorageError: `file` is something else, or cannot be written.
    """
    if file is not None and file.exists() and not _is_list(file):
        remedy = "Name another file; nothing was changed."
        raise StorageError(Problem("a new file", "one of another kind", file.name, remedy))
    listed = ProblemList()
    try:
        yield listed
    finally:
        if file is not None:
            write_bytes(file, _as_csv(listed).encode("utf-8", "surrogateescape"), mode=0o600)


def _is_list(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open(encoding="utf-8", errors="replace") as lines:
        return lines.readline().rstrip("\n") == _FIRST


def _as_csv(listed: ProblemList) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for path, problem in listed.entries:
        table.writerow((path, problem.expected, problem.found, problem.where, problem.remedy))
    return text.getvalue()
