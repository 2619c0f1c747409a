"""The command line: glue between the rooms, one module for each sub-command.

Modules here import typer and nothing heavy; commands import what they need when they run, so
that `envoi --help` answers at once.
"""

import os
from typing import Annotated

import typer

from envoi.cli import bench, data, flare, mri, server, site, study
from envoi.cli.demo import demo, report
from envoi.cli.distil import distil
from envoi.cli.evaluate import endorse
from envoi.cli.evaluate import evaluate as site_evaluate
from envoi.cli.evaluations import evaluations
from envoi.cli.guard import Guarded
from envoi.cli.mri_demo import demo as mri_demo
from envoi.cli.mri_draw import complete, sample
from envoi.cli.mri_evaluate import evaluate
from envoi.cli.mri_models import memory, train
from envoi.cli.mri_phantom import phantom
from envoi.cli.predict import predict

COMMANDS = {
    "data": data.app,
    "study": study.app,
    "site": site.app,
    "server": server.app,
    "flare": flare.app,
    "bench": bench.app,
    "mri": mri.app,
}

app = typer.Typer(
    cls=Guarded,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="One-shot federated learning for medical images: every hospital sends one file, once.",
)
server.app.command()(distil)
server.app.command()(endorse)
server.app.command()(evaluations)
site.app.command("evaluate")(site_evaluate)
for _verb in (phantom, train, sample, complete, evaluate, memory):
    mri.app.command()(_verb)
mri.app.command("demo")(mri_demo)
for _name, _commands in COMMANDS.items():
    app.add_typer(_commands, name=_name)
app.command()(predict)
app.command()(demo)
app.command()(report)


def _show_version(wanted: bool) -> bool:
    if wanted:
        from envoi import __version__

        typer.echo(f"envoi {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run `envoi`; the exit code is that of `envoi.cli.guard`."""
    # Read by OpenMP when torch loads: threads that wait must not spin, or two busy cores make a
    # small network many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app(prog_name="envoi")
