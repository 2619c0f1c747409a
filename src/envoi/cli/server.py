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
def keygen(
    out: Annotated[Path, typer.Option(help="The private key file to write; signs receipts.")],
    identity: Annotated[
        Path | None,
        typer.Option("--identity", help="Make an age identity as well; decrypts what sites send."),
    ] = None,
) -> None:
    """Make the server's keys, once; print the command that enters them into the study."""
    from envoi.submission import fingerprint, generate_key, public_text, save_key
    from envoi.submission.encryption import generate_identity, save_identity

    key, secret = generate_key(), None if identity is None else generate_identity()
    save_key(out, key)
    files, public = [out], {"receipts": public_text(key)}
    if identity is not None and secret is not None:
        save_identity(identity, secret)
        files, public = [out, identity], {**public, "encryption": secret.recipient}
    for file in files:
        typer.echo(f"Wrote {file}. Keep it secret, keep a copy, never send it.")
    options = " ".join(f"--{name} {text}" for name, text in public.items())
    typer.echo(
        f"\nEnter the public keys into the study:\n\nenvoi study set-server study.toml {options}"
    )
    typer.echo("\nFingerprints, to be compared on the telephone:")
    for name, text in public.items():
        typer.echo(f"  {name}  {fingerprint(text)}")


@app.command()
def collect(
    inbox: Annotated[Path, typer.Argument(help="The folder in which the sites' files arrive.")],
    study_file: StudyOption,
    folder: FolderOption,
    late: Annotated[bool, typer.Option("--late", help="Take files that came too late.")] = False,
    outbox: Annotated[
        Path | None, typer.Option("--outbox", help="Write receipts here; needs --key.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="The server's private key; signs receipts.")
    ] = None,
    identity: Annotated[
        Path | None, typer.Option("--identity", help="The server's age identity; decrypts files.")
    ] = None,
) -> None:
    """Verify every file of the inbox, keep the good ones, and say what became of each.

    May be repeated and interrupted at any time; the inbox is not changed.
    """
    from envoi.cli.progress import following
    from envoi.cli.show import say_ledger
    from envoi.errors import Problem, SettingsError
    from envoi.server.collect import collect as collect_files
    from envoi.server.outbox import Outbox
    from envoi.study import load_study
    from envoi.submission import load_key
    from envoi.submission.encryption import load_identity

    if (outbox is None) != (key is None):
        given = "--outbox" if key is None else "--key"
        remedy = "Give a folder for receipts and the key that signs them, or neither."
        raise SettingsError(Problem("--outbox and --key together", f"{given} alone", given, remedy))
    study = load_study(study_file)
    private = None if identity is None else load_identity(identity)
    receipts = None if outbox is None or key is None else Outbox(outbox, load_key(key))
    with following() as on_step:
        ledger = collect_files(
            inbox,
            folder,
            study=study,
            late=late,
            identity=private,
            outbox=receipts,
            on_step=on_step,
        )
    say_ledger(ledger, study)


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


@app.command()
def revoke(
    site: Annotated[str, typer.Argument(help="The site whose key is refused from now on.")],
    study_file: StudyOption,
    folder: FolderOption,
    reason: Annotated[str, typer.Option(help="Why, for the ledger; it does not travel.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="The revocation was a mistake.")] = False,
) -> None:
    """Refuse a site's key from now on and take out all that it sent, such as after a theft.

    A site gets a new key in a new study: `envoi study add-site --replace`.
    """
    from envoi.cli.show import say_ledger
    from envoi.server.collect import restore
    from envoi.server.collect import revoke as revoke_key
    from envoi.study import load_study

    study = load_study(study_file)
    if undo:
        say_ledger(restore(folder, site, study=study), study)
        typer.echo(f"The key of {site} is valid again. Run `envoi server collect` once more.")
        return
    say_ledger(revoke_key(folder, site, reason=reason, study=study), study)
