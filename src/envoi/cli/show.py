"""Tables and summaries in the terminal; text from strangers is never read as markup."""

from typing import TYPE_CHECKING

import typer

from envoi.wording import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from envoi.server.collect import Ledger
    from envoi.study import Study
    from envoi.types import ImageSet

_WIDTH_OF_PIPES = 240
# A reason in a column of fewer characters is a tower of single words.
_LEAST_REASON_WIDTH = 60
_WIDEST = 1000
_STYLES = {"received": "green", "refused": "red", "superseded": "dim", "withdrawn": "yellow"}


def say_counts(
    images: "ImageSet", *, kind: str = "", absence: str = "other sites may have some"
) -> None:
    """How many images of each class there are, and which classes have none.

    Args:
        images: To be counted.
        kind: What they are, such as "test ".
        absence: What it means that a class has none.
    """
    counts = dict(zip(images.class_names, images.class_counts, strict=True))
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    typer.echo(f"{counted(len(images), f'{kind}image')}: {told}.")
    absent = [name for name, count in counts.items() if count == 0]
    if absent:
        typer.echo(f"warning: no {kind}image of {', '.join(absent)}; {absence}.", err=True)


def say_ledger(ledger: "Ledger", study: "Study") -> None:
    """What became of every file, who is missing, and whether the server can start.

    In a narrow terminal the reasons stand under the table.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from envoi.server.left import left_in

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_OF_PIPES)
    beside = not ledger.entries or not console.is_terminal or _has_room(console, ledger)
    if ledger.entries:
        console.print(_table(ledger, reasons=beside))
    for entry in () if beside else ledger.entries:
        if entry.reason:
            typer.echo(f"{entry.file}:")
            console.print(Padding(Text(entry.reason), (0, 0, 0, 2)))
    for left in left_in(ledger):
        typer.echo(f"warning: {left}", err=True)
    for line in ledger.ignored:
        typer.echo(f"ignored: {line}")
    for past in ledger.revoked:
        since = f"{past.time:%Y-%m-%d %H:%M} UTC, key {past.fingerprint}"
        typer.echo(f"revoked: {past.site}, on {since}: {past.reason}")
    _say_standing(ledger, study)


def _table(ledger: "Ledger", *, reasons: bool) -> "Table":
    """All files; without reasons, names are folded where there is no room for them, never cut."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE)
    for name in ("file", "site"):
        table.add_column(name, overflow="ellipsis" if reasons else "fold")
    for name in ("number", "state", "bytes"):
        table.add_column(name, no_wrap=not reasons)
    if reasons:
        table.add_column("reason")
    for entry in ledger.entries:
        number = "" if entry.sequence is None else str(entry.sequence)
        state = Text(entry.state, style=_STYLES[entry.state])
        reason = [Text(entry.reason)] if reasons else []
        site = Text(entry.site or "")
        table.add_row(Text(entry.file), site, number, state, str(entry.bytes), *reason)
    return table


def _has_room(console: "Console", ledger: "Ledger") -> bool:
    """Whether a column of reasons fits beside the others."""
    unbounded = console.options.update(width=_WIDEST)
    others = console.measure(_table(ledger, reasons=False), options=unbounded).maximum
    longest = max(len(entry.reason) for entry in ledger.entries)
    return others + min(longest, _LEAST_REASON_WIDTH) <= console.width


def _say_standing(ledger: "Ledger", study: "Study") -> None:
    from datetime import UTC, datetime

    from envoi.server.collect import standing

    now = standing(ledger, study)
    expected = counted(len(study.sites), "site")
    typer.echo(f"{len(now.received)} of {expected}: {', '.join(now.received) or '-'}")
    if now.missing:
        typer.echo(f"missing: {', '.join(now.missing)}")
    if study.deadline is not None:
        state = "passed" if datetime.now(UTC) > study.deadline else "open"
        typer.echo(f"deadline: {study.deadline:%Y-%m-%d %H:%M} UTC, {state}")
    verdict = "reached" if now.ready else "not reached"
    typer.echo(f"minimum of {counted(now.minimum, 'site')}: {verdict}")
