"""`envoi data`: from where hospitals and challenges keep images to sets that commands read."""

import typer

from envoi.cli import prepare, prepare_sets
from envoi.cli.fetch import fetch
from envoi.cli.pull import keygen, pull

app = typer.Typer(no_args_is_help=True, help="Get images, and make sets of them.")
for _verb in (keygen, pull, fetch):
    app.command()(_verb)
prepare.app.command("fed-isic2019")(prepare_sets.fed_isic2019)
prepare.app.command("rsna-pneumonia")(prepare_sets.rsna_pneumonia)
prepare.app.command("diabetic-retinopathy")(prepare_sets.diabetic_retinopathy)
app.add_typer(prepare.app, name="prepare")
