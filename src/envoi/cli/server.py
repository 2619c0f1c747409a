"""`envoi server`: what the coordinator does with the files that arrive."""

from pathlib import Path
from typing import Annotated

import typer

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
    from envoi.cli.show import say_ledger
    from envoi.server.collect import collect as collect_files
    from envoi.study import load_study

    study = load_study(study_file)
    say_ledger(collect_files(inbox, folder, study=study, late=late), study)


@app.command()
def status(study_file: StudyOption, folder: FolderOption) -> None:
    """Say who has sent what, without looking into the inbox."""
    from envoi.cli.show import say_ledger
    from envoi.server.ledger import check_study, load_ledger
    from envoi.study import load_study

    study, ledger = load_study(study_file), load_ledger(folder)
    check_study(ledger, study)
    say_ledger(ledger, study)


@app.command()
def withdraw(
    site: Annotated[str, typer.Argument(help="The site whose files are taken out.")],
    study_file: StudyOption,
    folder: FolderOption,
) -> None:
    """Take out all that a site sent, and delete its copies. Build the student anew after it."""
    from envoi.cli.show import say_ledger
    from envoi.server.collect import withdraw as withdraw_site
    from envoi.study import load_study

    study = load_study(study_file)
    say_ledger(withdraw_site(folder, site, study=study), study)
