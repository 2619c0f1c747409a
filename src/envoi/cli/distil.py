"""`envoi server distil`: from the accepted files to a student and a report."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from envoi.cli.device import DeviceOption, device_called
from envoi.cli.server import FolderOption, StudyOption
from envoi.wording import counted

if TYPE_CHECKING:
    from envoi.settings import Budget, Preset
    from envoi.simulation.judge import ImageJudge
    from envoi.study import Study

MethodOption = Annotated[
    str,
    typer.Option(
        help="envoi, closed_form, fedisca, dafl, dense, coboost, fedavg, ensemble_consensus or "
        "another of the README's table; your own as package.module:Name; several with commas."
    ),
]


def distil(
    study_file: StudyOption,
    folder: FolderOption,
    out: Annotated[Path, typer.Option("--out", help="Folder of this run: student and report.")],
    method: MethodOption = "envoi",
    budget: Annotated[str, typer.Option(help="smoke, short or full.")] = "short",
    seed: Annotated[int, typer.Option(min=0, help="Of the server's random numbers.")] = 0,
    test: Annotated[
        Path | None, typer.Option("--test", help="Public test images: .npz, .csv or a folder.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Start with fewer sites than the study wants.")
    ] = False,
    device: DeviceOption = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run.")] = False,
) -> None:
    """Build the student from the accepted files; may be interrupted and repeated.

    Starts when the study's minimum of sites is reached, or its deadline has passed. Without
    --test nothing is measured: the server has no image. `torchrun --nproc-per-node N -m envoi
    server distil ...` shares the work of envoi among N processes or GPUs.
    """
    from envoi.cli.progress import following
    from envoi.processes import joined
    from envoi.report import write_report
    from envoi.results import RunFolder
    from envoi.server.ledger import check_study, load_ledger
    from envoi.server.methods import method_called
    from envoi.server.rows import tentative
    from envoi.server.run import ServerRun
    from envoi.settings import Budget
    from envoi.study import load_study

    study, ledger = load_study(study_file), load_ledger(folder)
    check_study(ledger, study)
    _check_standing(folder, study, partial=partial)
    chosen = Budget.preset(cast("Preset", budget), size_px=study.image.size_px)
    methods = {name: method_called(name) for name in method.split(",")}
    if dry_run:
        _say_plan(study, chosen, list(methods))
        return
    with joined() as processes:
        where = device_called(device)  # once each process knows the GPU that it has
        judge = None if test is None or not processes.first else _judge(test, study)
        place = RunFolder(out)
        with tentative(place) if processes.first else nullcontext():
            run = ServerRun(study, folder, place, chosen, seed=seed, judge=judge, device=where)
            if not processes.first:
                run.assist(methods)
                return
            with following() as on_step:
                run.execute(methods, on_step)
    _say_students(run.students(methods))
    typer.echo(f"report: {write_report(place)}")


def _say_students(students: list[Path]) -> None:
    for student in students:
        typer.echo(f"student: {student}")
    if not students:
        typer.echo("no student: these methods make no single network")


def _judge(test: Path, study: "Study") -> "ImageJudge":
    from envoi.cli.images import read_images
    from envoi.cli.show import say_counts
    from envoi.simulation.judge import ImageJudge

    images = read_images(test, study=study, own="test")
    say_counts(images, kind="test ", absence="nothing is measured on these classes")
    return ImageJudge(images, study.image)


def _check_standing(folder: Path, study: "Study", *, partial: bool) -> None:
    from datetime import UTC, datetime

    from envoi.errors import CheckError, Problem
    from envoi.server.collect import standing
    from envoi.server.ledger import load_ledger

    now = standing(load_ledger(folder), study)
    late = study.deadline is not None and datetime.now(UTC) > study.deadline
    if now.received and (now.ready or late or partial):
        return
    raise CheckError(
        Problem(
            f"files of at least {counted(now.minimum, 'site')}",
            f"{len(now.received)}",
            "the server's folder",
            "Wait for more, run `envoi server collect`, or start with --partial.",
        )
    )


def _say_plan(study: "Study", budget: "Budget", methods: list[str]) -> None:
    from dataclasses import asdict

    typer.echo(f"student: {study.architectures[0]}, methods: {', '.join(methods)}")
    for name, value in asdict(budget).items():
        typer.echo(f"{name} = {value}")
