"""`envoi server`: what the coordinator does with the files that arrive."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from envoi.server.ledger import Ledger
    from envoi.study import Study

# A reason in a column of fewer characters is a tower of single words.
_LEAST_REASON_WIDTH = 60
_WIDEST = 1000

app = typer.Typer(no_args_is_help=True, help="Collect the sites' files and build the student.")

StudyOption = Annotated[Path, typer.Option("--study", help="The study.toml that all share.")]
FolderOption = Annotated[
    Path, typer.Option("--folder", help="The server's folder for this study: ledger and copies.")
]


@app.command()
def collect(
    inbox: Annotated[Path, typer.Argument(help="The folder in which the sites' files arrive.")],
    study_file: StudyOption,
    folder: FolderOption,
    late: Annotated[bool, typer.Option("--late", help="Take files that came too late.")] = False,
) -> None:
    """Verify every file of the inbox, keep the good ones, and say what became of each.

    May be repeated and interrupted at any time; the inbox is not changed.
    """
    from envoi.server.collect import collect as collect_files
    from envoi.study import load_study

    study = load_study(study_file)
    _say(collect_files(inbox, folder, study=study, late=late), study)


@app.command()
def status(study_file: StudyOption, folder: FolderOption) -> None:
    """Say who has sent what, without looking into the inbox."""
    from envoi.server.ledger import check_study, load_ledger
    from envoi.study import load_study

    study, ledger = load_study(study_file), load_ledger(folder)
    check_study(ledger, study)
    _say(ledger, study)


@app.command()
def withdraw(
    site: Annotated[str, typer.Argument(help="The site whose files are taken out.")],
    study_file: StudyOption,
    folder: FolderOption,
) -> None:
    """Take out all that a site sent, and delete its copies. Build the student anew after it."""
    from envoi.server.collect import withdraw as withdraw_site
    from envoi.study import load_study

    study = load_study(study_file)
    _say(withdraw_site(folder, site, study=study), study)


def _say(ledger: "Ledger", study: "Study") -> None:
    """What became of every file; in a narrow terminal the reasons stand under the table."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from envoi.cli.show import _say_standing, say_ledger

    console, table = Console(highlight=False), _without_reasons(ledger)
    if not ledger.entries or not console.is_terminal or _has_room(console, table, ledger):
        say_ledger(ledger, study)
        return
    console.print(table)
    for entry in ledger.entries:
        if entry.reason:
            typer.echo(f"{entry.file}:")
            console.print(Padding(Text(entry.reason), (0, 0, 0, 2)))
    for line in ledger.ignored:
        typer.echo(f"ignored: {line}")
    _say_standing(ledger, study)


def _without_reasons(ledger: "Ledger") -> "Table":
    """Names are folded where there is no room for them, never cut."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from envoi.cli.show import _STYLES

    table = Table(box=box.SIMPLE)
    for name in ("file", "site"):
        table.add_column(name, overflow="fold")
    for name in ("number", "state", "bytes"):
        table.add_column(name, no_wrap=True)
    for entry in ledger.entries:
        number = "" if entry.sequence is None else str(entry.sequence)
        state = Text(entry.state, style=_STYLES[entry.state])
        table.add_row(Text(entry.file), Text(entry.site or ""), number, state, str(entry.bytes))
    return table


def _has_room(console: "Console", table: "Table", ledger: "Ledger") -> bool:
    """Whether a column of reasons fits beside `table`."""
    unbounded = console.options.update(width=_WIDEST)
    longest = max(len(entry.reason) for entry in ledger.entries)
    needed = console.measure(table, options=unbounded).maximum + min(longest, _LEAST_REASON_WIDTH)
    return needed <= console.width
