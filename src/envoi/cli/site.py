"""`envoi site`: what a hospital does. Nothing leaves it but the file that `submit` writes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from envoi.checkpoint import Checkpoint
    from envoi.settings import TrainingSettings
    from envoi.site import Finished, Workspace
    from envoi.study import Study
    from envoi.types import ImageSet

app = typer.Typer(no_args_is_help=True, help="Train at a hospital and write its one file.")

StudyOption = Annotated[Path, typer.Option("--study", help="The study.toml that all share.")]
SiteOption = Annotated[str, typer.Option("--site", help="Your site's id in the study.")]
KeyOption = Annotated[Path, typer.Option("--key", help="Your private key file.")]
WorkOption = Annotated[
    Path, typer.Option("--work", "--out", help="Your working folder; it stays with you.")
]
SequenceOption = Annotated[
    int | None,
    typer.Option(min=1, help="Number of the file; above those of all earlier ones.", metavar="N"),
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


@app.command()
def train(
    *,
    study_file: StudyOption,
    site: SiteOption,
    data: Annotated[Path, typer.Option(help="Your images: .npz, a folder, or a .csv table.")],
    work: WorkOption,
    split: Annotated[
        str, typer.Option(help="Which part of the data: train, validation, test or all.")
    ] = "train",
    rows: Annotated[
        Path | None, typer.Option(help="A text file of row numbers from 0: use only these.")
    ] = None,
    architecture: Annotated[str | None, typer.Option(help="One of the study's.")] = None,
    seed: Annotated[int, typer.Option(help="Of your own random order and augmentation.")] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a training setting; repeatable."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda. [default: what is there]")
    ] = None,
    save_seconds: Annotated[float, typer.Option(help="Time between two checkpoints.")] = 20.0,
    again: Annotated[bool, typer.Option("--again", help="Drop an earlier training.")] = False,
) -> None:
    """Train on your images. Stopped at any time, the same command goes on where it was."""
    from envoi.checkpoint import Checkpoint
    from envoi.cli.images import read_images
    from envoi.cli.show import say_counts
    from envoi.site import Workspace, job_fingerprint
    from envoi.study import load_study

    study = load_study(study_file)
    if site not in study.sites:
        typer.echo(f"warning: {site!r} is not in the study's roster (yet).", err=True)
    settings = _settings(study, changes or [])
    images = read_images(data, study=study, split=split, rows=rows)
    say_counts(images)
    name = architecture or study.architectures[0]
    job = {"study": study, "architecture": name, "settings": settings, "seed": seed, "name": site}
    workspace = Workspace(work)
    if again:
        workspace.clear()
    checkpoint = Checkpoint(
        workspace.checkpoint_path,
        fingerprint=job_fingerprint(images, **job),  # type: ignore[arg-type]
        every_seconds=save_seconds,
    )
    finished = workspace.finished_job(checkpoint.fingerprint, study=study)
    if finished is None:
        finished = _trained(images, workspace, checkpoint, job, device)
    checkpoint.clear()
    _say_trained(finished, study)
    typer.echo(f"Next: envoi site submit --study {study_file} --site {site} --work {work} ...")


@app.command()
def submit(
    study_file: StudyOption,
    site: SiteOption,
    key: KeyOption,
    work: Annotated[Path, typer.Option("--work", help="The working folder of `train`.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write, or a folder for it.")],
    sequence: SequenceOption = None,
) -> None:
    """Write and sign the one file, and say in plain words all that leaves the hospital."""
    from envoi.files import file_digest
    from envoi.site import Workspace
    from envoi.study import load_study
    from envoi.submission import describe, load_key, write_submission

    study, workspace = load_study(study_file), Workspace(work)
    finished = workspace.load(study=study)
    private = load_key(key)
    number = workspace.last_sequence() + 1 if sequence is None else sequence
    file = out / f"{site}-{number}.safetensors" if out.is_dir() else out
    _require_new(file)
    workspace.reserve(number)
    manifest = write_submission(
        file, finished.release, study=study, site=site, sequence=number, key=private
    )
    typer.echo("This leaves the hospital, and nothing else:\n")
    for line in describe(manifest, study.classes):
        typer.echo(f"  - {line}")
    typer.echo(f"\n{_cost_of_format(finished, study)}")
    typer.echo(f"Wrote {file}: {file.stat().st_size} bytes, sha256 {file_digest(file)}.")
    typer.echo("Carry this one file to the study's server by whatever way your hospital allows.")


@app.command()
def withdraw(
    study_file: StudyOption,
    site: SiteOption,
    key: KeyOption,
    out: Annotated[Path, typer.Option("--out", help="The notice to write, or a folder for it.")],
    work: Annotated[
        Path | None, typer.Option("--work", help="The working folder; knows the last number.")
    ] = None,
    sequence: SequenceOption = None,
) -> None:
    """Write a signed notice that takes back all files of your site up to a number."""
    from envoi.errors import Problem, SettingsError
    from envoi.site import Workspace
    from envoi.study import load_study
    from envoi.submission import load_key, write_withdrawal

    number = sequence
    if number is None and work is not None:
        number = Workspace(work).last_sequence() or None
    if number is None:
        remedy = "Give --work of a site that has submitted, or --sequence."
        raise SettingsError(Problem("the number of the last file", "none", "sequence", remedy))
    file = out / f"{site}-{number}.withdrawal.json" if out.is_dir() else out
    if not file.name.endswith(".withdrawal.json"):
        remedy = "Choose such a name: the server knows notices by it."
        raise SettingsError(Problem("NAME.withdrawal.json", file.name, "--out", remedy))
    _require_new(file)
    study = load_study(study_file)
    write_withdrawal(file, study=study, site=site, sequence=number, key=load_key(key))
    typer.echo(f"Wrote {file}. Carry it to the study's server, as you did with the submission.")
    typer.echo(f"It takes back every file of {site} up to number {number}.")


def _settings(study: "Study", changes: list[str]) -> "TrainingSettings":
    """The study's training settings with NAME=VALUE laid over them."""
    import tomllib

    from envoi.errors import Problem, SettingsError
    from envoi.settings import resolved

    values: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        try:
            values[name.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = text
        if not text:
            remedy = "Write for instance --set epochs=30."
            raise SettingsError(Problem("NAME=VALUE", repr(change)[:80], "--set", remedy))
    return resolved(study.training, values, where="--set")


def _trained(
    images: "ImageSet",
    workspace: "Workspace",
    checkpoint: "Checkpoint",
    job: dict[str, Any],
    device: str | None,
) -> "Finished":
    import torch

    from envoi.cli.progress import following
    from envoi.site import Finished, accuracy_as_sent, release, train

    with following(checkpoint) as on_step:
        trained = train(
            images,
            **job,
            checkpoint=checkpoint,
            on_step=on_step,
            device=None if device is None else torch.device(device),
        )
    study = job["study"]
    finished = Finished(
        release=release(trained, images, study=study),
        accuracy_as_sent=accuracy_as_sent(trained, images, study=study),
        seconds=trained.seconds,
        fingerprint=checkpoint.fingerprint,
    )
    workspace.save(finished, study=study)
    return finished


def _say_trained(finished: "Finished", study: "Study") -> None:
    card = finished.release.card
    typer.echo(f"Trained {finished.release.architecture}, {card.epochs} epochs.")
    if card.validation_accuracy is not None:
        typer.echo(f"Accuracy on your own validation images: {card.validation_accuracy:.3f}.")
    typer.echo(_cost_of_format(finished, study))


def _cost_of_format(finished: "Finished", study: "Study") -> str:
    if study.weight_format == "fp32":
        return "Cost of the weight format fp32: none, it is exact."
    before, after = finished.release.card.validation_accuracy, finished.accuracy_as_sent
    if before is None or after is None:
        return f"Cost of the weight format {study.weight_format}: unknown, nothing validated."
    return (
        f"Cost of the weight format {study.weight_format}, on your own validation images: "
        f"accuracy {before:.4f} before, {after:.4f} as sent ({after - before:+.4f})."
    )


def _require_new(file: Path) -> None:
    from envoi.errors import Problem, StorageError

    if file.exists():
        remedy = "Choose another name, or move the old file away."
        raise StorageError(Problem("a new file", "an existing one", file.name, remedy))
