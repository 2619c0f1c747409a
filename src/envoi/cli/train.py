HEAD
@app.command()
def train(
    *,
    study_file: StudyOption,
    site: SiteOption,
    data: Annotated[Path, typer.Option(help="Your images: .npz, a folder, or a .csv table.")],
    work: WorkOption,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, validation, test or all. [default: train if the data has parts, else all]"
        ),
    ] = None,
    rows: Annotated[
        Path | None, typer.Option(help="A text file of row numbers from 0: use only these.")
    ] = None,
    fit: Annotated[
        str, typer.Option(help="Pictures of another size: exact refuses, resize, crop.")
    ] = "exact",
    convert: Annotated[
        bool, typer.Option("--allow-channel-conversion", help="Take grey as colour or back.")
    ] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="MEANING=NAME", help="A table's column, such as patient=case."
        ),
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
    from envoi.cli.images import Source, read_images
    from envoi.cli.show import say_counts
    from envoi.site import Workspace, job_fingerprint
    from envoi.study import load_study

    study = load_study(study_file)
    if site not in study.sites:
        typer.echo(f"warning: {site!r} is not in the study's roster (yet).", err=True)
    settings = _settings(study, changes or [])
    source = Source(
        path=data, split=split, rows=rows, fit=fit, convert=convert, columns=columns or ()
    )
    images = read_images(source, study=study)
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


