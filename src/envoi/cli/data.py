"""`envoi data`: from where hospitals and challenges keep images to sets that commands read."""

import typer

from envoi.cli import prepare
from envoi.cli.fetch import fetch

app = typer.Typer(no_args_is_help=True, help="Get images and make sets of them.")
app.command()(fetch)
app.add_typer(prepare.app, name="prepare")
