"""`envoi data fetch`: files of public sets from their publishers."""

from pathlib import Path
from typing import Annotated

import typer


def fetch(
    name: Annotated[str, typer.Argument(help="Such as bloodmnist, dermamnist or fed-isic2019.")],
    out: Annotated[Path, typer.Option("--out", help="The folder that gets the files.")],
    size: Annotated[
        int | None, typer.Option(help="Of MedMNIST's images: 28 (by default), 64, 128 or 224.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Longest silence of the server, in seconds.")
    ] = 60.0,
) -> None:
    """Fetch a public set; a download that was cut goes on where it was.

    You take each set under its publisher's licence, which is told at the end.
    """
    from envoi.cli.progress import following
    from envoi.data.fetch import fetch as fetch_file
    from envoi.data.public_sets import public_set

    chosen = public_set(name, size)
    with following() as on_step:
        for remote in chosen.files:
            fetch_file(remote, out, timeout_seconds=timeout, on_step=on_step)
    checked = all(remote.md5 for remote in chosen.files)
    for remote in chosen.files:
        size_mib = (out / remote.name).stat().st_size / 2**20
        typer.echo(f"{out / remote.name}: {size_mib:.1f} MiB")
    if not checked:
        typer.echo("Checked by length alone: the publisher names no checksums.")
    typer.echo(f"Licence: {chosen.licence}.")
    typer.echo(f"Next: {chosen.command.format(folder=out)}")
