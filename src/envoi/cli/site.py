"""`envoi site`: what a hospital does. Nothing leaves it but the file that `submit` writes."""

import os
from pathlib import Path
from typing import Annotated

import typer

from envoi.cli.audit import IdentifiersOption, audit, named_nobody, told_of_audit
from envoi.cli.delivery import deliver, verify_receipt
from envoi.cli.train import SiteOption, StudyOption, cost_of_format, train

app = typer.Typer(no_args_is_help=True, help="Train at a hospital and write its one file.")

KeyOption = Annotated[Path, typer.Option("--key", help="Your private key file.")]
NumberOption = Annotated[
    int | None,
    typer.Option(
        "--sequence",
        min=1,
        help="Number of the file; above those of all earlier ones.",
        metavar="N",
    ),
]
LastOption = Annotated[
    int | None,
    typer.Option("--sequence", min=1, help="Number of the last file to take back.", metavar="N"),
]
# Text, since a path forgets the '/' that makes a folder of it.
FileOption = Annotated[
    str, typer.Option("--out", metavar="PATH", help="The file to write, or a folder for it.")
]


@app.command()
def keygen(
    site: Annotated[str, typer.Argument(help="Your site's id: a-z, 0-9 and '-'.")],
    out: Annotated[
        Path | None, typer.Option(help="The private key file to write. [default: SITE.key]")
    ] = None,
) -> None:
    """Make your site's key pair, once; print the line for the study's roster."""
    from envoi.errors import Problem, SettingsError
    from envoi.study import is_site_id
    from envoi.submission import fingerprint, generate_key, public_text, save_key

    if not is_site_id(site):
        remedy = "Choose a short id, such as north-clinic."
        expected = "1 to 63 of a-z, 0-9 and '-'"
        raise SettingsError(Problem(expected, ascii(site)[:80], "site", remedy))
    path = out or Path(f"{site}.key")
    key = generate_key()
    save_key(path, key)
    public = public_text(key)
    typer.echo(f"Wrote the private key to {path}. Keep it secret, keep a copy, never send it.")
    typer.echo("\nSend this line to the coordinator:\n")
    typer.echo(f'{site} = "{public}"')
    typer.echo(f"\nand compare on the telephone: fingerprint {fingerprint(public)}")


app.command()(train)
app.command()(audit)
app.command()(deliver)
app.command("verify-receipt")(verify_receipt)


@app.command()
def submit(
    study_file: StudyOption,
    site: SiteOption,
    key: KeyOption,
    work: Annotated[Path, typer.Option("--work", help="The working folder of `train`.")],
    out: FileOption,
    sequence: NumberOption = None,
    identifiers: IdentifiersOption = None,
) -> None:
    """Write and sign the one file, and say in plain words all that leaves the hospital.

    Where the study names a key of the server for it, the file is encrypted to that key.
    """
    from envoi.cli.delivery import encrypted_to
    from envoi.files import file_digest
    from envoi.site import Workspace
    from envoi.study import load_study
    from envoi.submission import describe, fingerprint, load_key
    from envoi.submission.write import check_audit, check_signer, drafted, write_file

    study, workspace = load_study(study_file), Workspace(work, site)
    finished = workspace.load(study=study)
    private = load_key(key)
    number = workspace.last_sequence() + 1 if sequence is None else sequence
    recipient = study.server_keys.get("encryption")
    file = _new_file(out, f"{site}-{number}.safetensors{'.age' if recipient else ''}")
    _check_ending(file, encrypted=recipient is not None)
    # All that may refuse comes before the number is used up.
    check_signer(study, site=site, sequence=number, key=private)
    check_audit(finished.release, study)
    draft = drafted(finished.release, study=study, site=site, sequence=number)
    named = named_nobody(draft, identifiers, site)
    with encrypted_to(recipient, file, work) as plain:
        workspace.reserve(number)
        write_file(plain, draft.manifest, draft.tensors, layout=draft.layout, key=private)
    typer.echo("This leaves the hospital, and nothing else:\n")
    for line in describe(draft.manifest, study.classes, asked=study.training):
        typer.echo(f"  - {line}")
    typer.echo("\nWhat somebody could find out who has the file and an image:\n")
    for line in told_of_audit(finished, study):
        typer.echo(f"  - {line}")
    typer.echo(f"\n{named}")
    typer.echo(cost_of_format(finished, study))
    if recipient:
        typer.echo("It is encrypted: only the server can read it, by its key with the fingerprint")
        typer.echo(f"{fingerprint(recipient)}. Compare that with the coordinator on the telephone.")
    typer.echo(f"Wrote {file}: {file.stat().st_size} bytes, sha256 {file_digest(file)}.")
    typer.echo("Carry this one file to the study's server by whatever way your hospital allows.")


@app.command()
def withdraw(
    study_file: StudyOption,
    site: SiteOption,
    key: KeyOption,
    out: FileOption,
    work: Annotated[
        Path | None, typer.Option("--work", help="The working folder; knows the last number.")
    ] = None,
    sequence: LastOption = None,
) -> None:
    """Write a signed notice that takes back all files of your site up to a number."""
    from envoi.errors import Problem, SettingsError
    from envoi.site import Workspace
    from envoi.study import load_study
    from envoi.submission import load_key, write_withdrawal

    number = sequence
    if number is None and work is not None:
        number = Workspace(work, site).last_sequence() or None
    if number is None:
        remedy = "Give --work of a site that has submitted, or --sequence."
        raise SettingsError(Problem("the number of the last file", "none", "sequence", remedy))
    file = _new_file(out, f"{site}-{number}.withdrawal.json")
    if not file.name.endswith(".withdrawal.json"):
        remedy = "Choose such a name: the server knows notices by it."
        raise SettingsError(Problem("NAME.withdrawal.json", file.name, "--out", remedy))
    study = load_study(study_file)
    write_withdrawal(file, study=study, site=site, sequence=number, key=load_key(key))
    typer.echo(f"Wrote {file}. Carry it to the study's server, as you did with the submission.")
    typer.echo(f"It takes back every file of {site} up to number {number}.")


def _check_ending(file: Path, *, encrypted: bool) -> None:
    """Refuse a name under which an encrypted file passes for an open one, or the other way."""
    from envoi.errors import Problem, SettingsError
    from envoi.submission.encryption import SUFFIX

    if file.name.endswith(SUFFIX) != encrypted:
        kind = "encrypted" if encrypted else "not encrypted"
        expected = f"a name that ends in {SUFFIX}" if encrypted else "one that does not end in .age"
        remedy = "Choose another name, or give a folder."
        raise SettingsError(Problem(expected, f"a file that is {kind}", "--out", remedy))


def _new_file(out: str, name: str) -> Path:
    """The file `out`, or `name` in the folder `out`, which need not exist if it ends in '/'."""
    from envoi.errors import Problem, StorageError

    is_folder = out.endswith(("/", os.sep)) or Path(out).is_dir()
    file = Path(out) / name if is_folder else Path(out)
    if file.exists():
        remedy = "Choose another name, or move the old file away."
        raise StorageError(Problem("a new file", "an existing one", file.name, remedy))
    return file
