"""`envoi site train`: a site's images in, a finished training in its working folder out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envoi.cli.device import DeviceOption, device_called
from envoi.cli.mri_options import precision_called
from envoi.wording import counted

if TYPE_CHECKING:
    import torch

    from envoi.checkpoint import Checkpoint
    from envoi.settings import TrainingSettings
    from envoi.site import Finished, Workspace
    from envoi.study import Study
    from envoi.types import ImageSet

StudyOption = Annotated[Path, typer.Option("--study", help="The study.toml that all share.")]
SiteOption = Annotated[str, typer.Option("--site", help="Your site's id in the study.")]
WorkOption = Annotated[
    Path, typer.Option("--work", "--out", help="Your working folder; it stays with you.")
]
DataOption = Annotated[
    Path,
    typer.Option(help="Your images: a .npz, a .csv table, a prepared set, or a folder of classes."),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        help="train, validation, test or all. [default: train if the data has parts, else all]"
    ),
]
RowsOption = Annotated[
    Path | None, typer.Option(help="A text file of row numbers from 0: use only these.")
]
FitOption = Annotated[
    str,
    typer.Option(help="What to do with pictures of another size: exact (refuse), resize, crop."),
]
ConvertOption = Annotated[
    bool, typer.Option("--allow-channel-conversion", help="Take grey as colour, colour as grey.")
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="MEANING=NAME",
        help="Name of a table's column, such as patient=case_id; repeatable.",
    ),
]
ArchitectureOption = Annotated[
    str | None, typer.Option(help="One of the study's. [default: its first]")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a training setting; repeatable."),
]
PrecisionOption = Annotated[
    str, typer.Option(help="auto (bf16 on GPUs that are fast at it), fp32 or bf16.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Of your own random order and augmentation.")]
SaveOption = Annotated[float, typer.Option(help="Time between two checkpoints.")]
UnlistedOption = Annotated[
    bool, typer.Option("--allow-unlisted-site", help="Train a site that is entered later.")
]
AgainOption = Annotated[bool, typer.Option("--again", help="Drop an earlier training.")]


def train(
    *,
    study_file: StudyOption,
    site: SiteOption,
    data: DataOption,
    work: WorkOption,
    split: SplitOption = None,
    rows: RowsOption = None,
    fit: FitOption = "exact",
    convert: ConvertOption = False,
    columns: ColumnsOption = None,
    architecture: ArchitectureOption = None,
    seed: SeedOption = 0,
    changes: SetOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    save_seconds: SaveOption = 20.0,
    unlisted: UnlistedOption = False,
    again: AgainOption = False,
) -> None:
    """Train on your images. Stopped at any time, the same command goes on where it was."""
    from envoi.cli.images import Permissions, read_images
    from envoi.cli.show import say_counts
    from envoi.precision import is_lowered
    from envoi.site import Workspace
    from envoi.study import load_study

    study = load_study(study_file)
    _check_site(site, study, unlisted=unlisted)
    settings, where = _settings(study, changes or []), device_called(device)
    permissions = Permissions(fit=fit, convert=convert, columns=columns or ())
    images = read_images(data, study=study, split=split, rows=rows, permissions=permissions)
    say_counts(images)
    _warn_of_counts(images, study)
    workspace = Workspace(work, site)
    if again:
        workspace.clear()
    job = {
        "study": study,
        "architecture": architecture or study.architectures[0],
        "settings": settings,
        "seed": seed,
        "name": site,
        "precision": "bf16" if is_lowered(precision_called(precision), where) else "fp32",
    }
    finished = _finished(images, job, workspace, where, save_seconds=save_seconds)
    _say_trained(finished, study)
    typer.echo(f"Next: envoi site submit --study {study_file} --site {site} --work {work} ...")


def _check_site(site: str, study: "Study", *, unlisted: bool) -> None:
    """Refuse a site that the roster does not have, unless that is permitted or it has none yet.

    Raises:
        StudyError: It is refused; the nearest name is told.
    """
    import difflib

    from envoi.errors import Problem, StudyError

    if site in study.sites:
        return
    if unlisted or not study.sites:
        typer.echo(f"warning: {site!r} is not in the study's roster (yet).", err=True)
        return
    near = difflib.get_close_matches(site, study.sites, n=1, cutoff=0.6)
    near = near or [known for known in study.sites if _begins(known, site)][:1]
    meant = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(study.sites)[:200]}."
    remedy = f"{meant} A site that is entered later trains with --allow-unlisted-site."
    expected, found = "a site of the study's roster", ascii(site)[:80]
    raise StudyError(Problem(expected, found, "--site", remedy))


def _begins(known: str, site: str) -> bool:
    """Whether a name begins as another one does, but for a slip."""
    import difflib

    return bool(difflib.get_close_matches(site, [known[: len(site)]], cutoff=0.75))


def _warn_of_counts(images: "ImageSet", study: "Study") -> None:
    """Say that no count of this site will be told, where that is so."""
    policy, counts = study.statistics, images.class_counts
    if "class_counts" in policy.release and not any(map(policy.released_count, counts)):
        told = f"No class has {policy.minimum_class_size} images: all counts are told as 0"
        typer.echo(f"warning: {told}, and no ensemble that weighs by counts hears you.", err=True)


def cost_of_format(finished: "Finished", study: "Study") -> str:
    """What sending the weights in the study's format costs, in one sentence."""
    if study.weight_format == "fp32":
        return "Cost of the weight format fp32: none, it is exact."
    before, after = finished.release.card.validation_accuracy, finished.accuracy_as_sent
    if before is None or after is None:
        return f"Cost of the weight format {study.weight_format}: unknown, nothing validated."
    return (
        f"Cost of the weight format {study.weight_format}, on your own validation images: "
        f"accuracy {before:.4f} before, {after:.4f} as sent ({after - before:+.4f})."
    )


def _settings(study: "Study", changes: list[str]) -> "TrainingSettings":
    """The study's training settings with NAME=VALUE laid over them."""
    import tomllib

    from envoi.errors import Problem, SettingsError
    from envoi.settings import resolved

    values: dict[str, Any] = {}
    for change in changes:
        name, _, text = change.partition("=")
        if not text:
            remedy = "Write for instance --set epochs=30."
            raise SettingsError(Problem("NAME=VALUE", repr(change)[:80], "--set", remedy))
        try:
            values[name.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            # A word without quotes, such as schedule=one-cycle.
            values[name.strip()] = text
    return resolved(study.training, values, where="--set")


def _finished(
    images: "ImageSet",
    job: dict[str, Any],
    workspace: "Workspace",
    device: "torch.device",
    *,
    save_seconds: float,
) -> "Finished":
    """The finished training of this job: kept from before, resumed or new."""
    from envoi.checkpoint import Checkpoint
    from envoi.site import job_fingerprint

    fingerprint = job_fingerprint(images, **job)
    checkpoint = Checkpoint(
        workspace.checkpoint_path, fingerprint=fingerprint, every_seconds=save_seconds
    )
    finished = workspace.finished_job(fingerprint, study=job["study"])
    if finished is None:
        finished = _trained(images, job, checkpoint, device)
        workspace.save(finished, study=job["study"])
    checkpoint.clear()
    return finished


def _trained(
    images: "ImageSet",
    job: dict[str, Any],
    checkpoint: "Checkpoint",
    device: "torch.device",
) -> "Finished":
    from envoi.cli.progress import following
    from envoi.site import Finished, accuracy_as_sent, audit, image_digests, release
    from envoi.site import train as train_site

    with following() as on_step:
        trained = train_site(images, **job, checkpoint=checkpoint, on_step=on_step, device=device)
    study = job["study"]
    return Finished(
        release=release(trained, images, study=study),
        accuracy_as_sent=accuracy_as_sent(trained, images, study=study),
        seconds=trained.seconds,
        fingerprint=checkpoint.fingerprint,
        audit=audit(trained, images, study=study),
        trained_on=image_digests(images),
    )


def _say_trained(finished: "Finished", study: "Study") -> None:
    card = finished.release.card
    typer.echo(f"Trained {finished.release.architecture}, {counted(card.epochs, 'epoch')}.")
    if card.validation_accuracy is not None:
        typer.echo(f"Accuracy on your own validation images: {card.validation_accuracy:.3f}.")
    typer.echo(cost_of_format(finished, study))
