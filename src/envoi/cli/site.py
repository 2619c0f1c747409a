"""`envoi site`: what a hospital does. Nothing leaves it but the file that `submit` writes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.audit import IdentifiersOption, audit, named_nobody, told_of_audit
from envoi.cli.delivery import deliver, verify_receipt
from envoi.cli.outgoing import FileOption, new_file, submission_file
from envoi.cli.train import SiteOption, StudyOption, cost_of_format, train

if TYPE_CHECKING:
    from envoi.site import Numbers

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
AllOption = Annotated[
    bool, typer.Option("--all", help="Take back everything, whatever folder it was sent from.")
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
    from envoi.site import Numbers, Workspace
    from envoi.study import load_study
    from envoi.submission import describe, fingerprint, load_key
    from envoi.submission.write import check_audit, check_signer, drafted, write_file

    study, workspace = load_study(study_file), Workspace(work, site)
    finished = workspace.load(study=study)
    private, numbers = load_key(key), Numbers(site, key, workspace)
    number = numbers.last() + 1 if sequence is None else sequence
    recipient = study.server_keys.get("encryption")
    file = submission_file(out, f"{site}-{number}.safetensors", encrypted=recipient is not None)
    # All that may refuse comes before the number is used up.
    check_signer(study, site=site, sequence=number, key=private)
    check_audit(finished.release, study)
    draft = drafted(finished.release, study=study, site=site, sequence=number)
    named = named_nobody(draft, identifiers, site)
    told = "" if sequence else _told_number(number, numbers)
    with encrypted_to(recipient, file, work) as plain:
        numbers.reserve(number)
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
    if told:
        typer.echo(told)
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
    everything: AllOption = False,
) -> None:
    """Write a signed notice that takes back all files of your site up to a number.

    A working folder and a key know the numbers that were written with them, and no others.
    """
    from envoi.site import Numbers, Workspace
    from envoi.study import load_study
    from envoi.submission import load_key, write_withdrawal

    numbers = Numbers(site, key, None if work is None else Workspace(work, site))
    number = _last_number(numbers, sequence, everything=everything)
    ending, remedy = ".withdrawal.json", "Choose such a name: the server knows notices by it."
    file = new_file(out, f"{site}-{number}{ending}", ending=ending, remedy=remedy)
    study = load_study(study_file)
    numbers.last()  # refuses another site's folder before anything is written
    write_withdrawal(file, study=study, site=site, sequence=number, key=load_key(key))
    numbers.note(number)
    typer.echo(f"Wrote {file}. Carry it to the study's server, as you did with the submission.")
    typer.echo(f"It takes back every file of {site} up to number {number}.")
    if everything:
        typer.echo("No file that counted on from 1 has a higher one. If you come back, a file")
        typer.echo("counts again from the next number on, which `envoi site submit` gives it.")
    elif sequence is None:
        typer.echo(
            "Files that were written elsewhere may have higher numbers, and then still count:"
        )
        typer.echo(
            "--all takes back everything. The server tells if one still counts, in the receipt too."
        )


def _told_number(number: int, numbers: "Numbers") -> str:
    """Where the number of a file comes from, unless the working folder simply counts on."""
    if number - 1 == numbers.of_folder() > 0:
        return ""
    if number > 1:
        return f"Its number is {number}: this key has signed number {number - 1} before."
    return (
        "Its number is 1: no file is known that this folder or this key wrote before. If your "
        "site has sent one all the same, write this again with --sequence N above its number."
    )


def _last_number(numbers: "Numbers", sequence: int | None, *, everything: bool) -> int:
    """Up to which number a notice takes back.

    Raises:
        SettingsError: None is known, or two are given.
    """
    from datetime import UTC, datetime

    from envoi.errors import Problem, SettingsError
    from envoi.site import above_all

    if sequence is not None and everything:
        remedy = "Leave one of them out."
        raise SettingsError(Problem("--all or --sequence", "both", "options", remedy))
    if sequence is not None:
        return sequence
    last = numbers.last()
    if everything:
        return max(last, above_all(datetime.now(UTC).date()))
    if not last:
        remedy = "Give --work of a site that has submitted, --sequence, or --all."
        raise SettingsError(Problem("the number of the last file", "none", "sequence", remedy))
    return last
