"""The rows of a comparison, each kept as soon as it is known: what is finished is not repeated.

    methods/<method>.json          a `MethodResult`
    methods/<method>.checkpoint    a method that is under way
    wall_seconds                   time of all attempts at the run so far

A row is known by its method's name; all else that decides it is claimed by the run's folder
(`RunFolder.claim`). Loads no torch.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from envoi.errors import Problem, StorageError
from envoi.files import write_bytes, write_text
from envoi.results import MethodResult, RunFolder
from envoi.wording import counted

_BEFORE_COMPUTING = {"run.toml", "settings.json", "study.toml", "wall_seconds"}
_ROW: TypeAdapter[MethodResult] = TypeAdapter(MethodResult)


class Rows:
    """What a run folder remembers from one attempt to the next.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, method: str) -> bool:
        return self.file(method, ".json").exists()

    def file(self, method: str, ending: str) -> Path:
        """Where something of a method lies: its row, its checkpoint, its student."""
        return self._folder / "methods" / f"{file_stem(method)}{ending}"

    def remembered(self, method: str, compute: Callable[[], MethodResult]) -> MethodResult:
        """The method's row: of an earlier attempt, or else computed now and kept."""
        file = self.file(method, ".json")
        if file.exists():
            return _read(file)
        row = compute()
        write_bytes(file, _ROW.dump_json(row, indent=2))
        return row

    def in_order(self, methods: Iterable[str]) -> dict[str, MethodResult]:
        """Every row of the folder: those of `methods` first, then the others by name."""
        found = {row.method: row for row in map(_read, self._folder.glob("methods/*.json"))}
        first = [method for method in dict.fromkeys(methods) if method in found]
        return {name: found[name] for name in (*first, *sorted(found.keys() - set(first)))}

    @contextmanager
    def timed(self) -> Iterator[Callable[[], float]]:
        """Wall time of this and all earlier attempts, interrupted ones too, when it is asked."""
        file, began = self._folder / "wall_seconds", time.monotonic()
        before = float(file.read_text()) if file.exists() else 0.0

        def seconds() -> float:
            return before + time.monotonic() - began

        try:
            yield seconds
        finally:
            write_text(file, f"{seconds():.1f}\n")


@contextmanager
def tentative(run: RunFolder) -> Iterator[None]:
    """Within, an error before anything was computed takes back a claim that was made within.

    Other settings can then have the folder; one that was made within is removed.
    """
    was_there, was_claimed = run.path.exists(), run.is_claimed
    try:
        yield
    except Exception:
        files = list(run.path.iterdir()) if run.is_claimed and not was_claimed else []
        if files and {file.name for file in files} <= _BEFORE_COMPUTING:
            for file in files:
                file.unlink()
            if not was_there:
                run.path.rmdir()
        raise


def file_stem(method: str) -> str:
    """A method's name as that of a file: `local-north` for `local/north`."""
    return method.replace("/", "-").replace(":", "_")


def _read(file: Path) -> MethodResult:
    try:
        return _ROW.validate_json(file.read_bytes())
    except ValidationError as err:
        found = counted(err.error_count(), "wrong field")
        remedy = "Remove it, and run the same command again."
        raise StorageError(Problem("a row of this version", found, file.name, remedy)) from err
