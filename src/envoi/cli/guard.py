"""How commands end: in plain lines on standard error and an exit code, never in a traceback.

0    fine
2    wrong usage or settings
3    bad input, full disk or too little memory
4    a check has failed
130  interrupted
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import typer
from typer.core import TyperGroup

from envoi.errors import EnvoiError, EnvoiWarning
from envoi.files import NO_SPACE

BAD_INPUT = 3
INTERRUPTED = 130


class Guarded(TyperGroup):
    """A group of commands whose errors end in lines."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  (typer keeps its own click)
        """Run a command; turn what it raises into lines and an exit code."""
        return guarded(lambda: super(Guarded, self).invoke(ctx))


def guarded(command: Callable[[], Any]) -> Any:  # noqa: ANN401  (whatever the command returns)
    """What `command` returns; what it raises becomes lines and an exit code.

    Raises:
        typer.Exit: The command has failed, or was interrupted.
    """
    try:
        with _plain_warnings():
            return command()
    except EnvoiError as err:
        for problem in err.problems:
            complain(str(problem))
        raise typer.Exit(err.exit_code) from err
    except KeyboardInterrupt as err:
        hint = str(err) or "Run the same command again; what is finished is not repeated."
        typer.echo(f"interrupted: {hint}", err=True)
        raise typer.Exit(INTERRUPTED) from err
    except MemoryError as err:
        raise _out_of_memory() from err
    except RuntimeError as err:
        if _is_about_memory(err):
            raise _out_of_memory() from err
        raise
    except BrokenPipeError:
        raise
    except OSError as err:
        raise _failed_by_system(err) from err


def complain(line: str) -> None:
    """Say an error on standard error."""
    typer.echo(f"error: {line}", err=True)


@contextmanager
def nothing_kept() -> Iterator[None]:
    """For commands that keep nothing of unfinished work: says so where they are interrupted."""
    try:
        yield
    except KeyboardInterrupt as err:
        hint = "nothing was written; the same command starts from the beginning."
        raise KeyboardInterrupt(hint) from err


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Envoi's own warnings as one line each; those of others as Python shows them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", EnvoiWarning)
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, EnvoiWarning):
                typer.echo(f"warning: {message}", err=True)
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def _is_about_memory(err: RuntimeError) -> bool:
    text = str(err)
    return "allocate memory" in text or "out of memory" in text or "not enough memory" in text


def _out_of_memory() -> typer.Exit:
    complain("the memory of this machine is full. Use smaller batches, or a larger machine.")
    return typer.Exit(BAD_INPUT)


def _failed_by_system(err: OSError) -> typer.Exit:
    if err.errno in NO_SPACE:
        complain("the disk is full. Free some space and run the same command again.")
    else:
        complain(f"the system says: {err.strerror or type(err).__name__}. Check the paths given.")
    return typer.Exit(BAD_INPUT)
