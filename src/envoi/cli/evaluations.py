"""`envoi server evaluations`: what the hospitals' words on a student amount to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.server import FolderOption
from envoi.cli.train import StudyOption
from envoi.wording import counted

if TYPE_CHECKING:
    from envoi.evaluation.federated import Merged
    from envoi.results import Interval
    from envoi.study import Study
    from envoi.submission.evaluation import Evaluation, Measured

MergedOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="A .json file to write; `envoi report RUN` shows RUN/evaluations.json.",
    ),
]


def evaluations(
    inbox: Annotated[Path, typer.Argument(help="The folder in which the sites' files arrive.")],
    study_file: StudyOption,
    folder: FolderOption,
    student_file: Annotated[Path, typer.Option("--student", help="The student's .safetensors.")],
    out: MergedOption = None,
) -> None:
    """Put the sites' evaluations of a student together: over all images and site by site."""
    from dataclasses import asdict

    from envoi.evaluation.federated import merged
    from envoi.files import file_digest, write_json
    from envoi.server.evaluations import read_evaluations
    from envoi.server.ledger import check_study, load_ledger
    from envoi.server.student import check_student_of
    from envoi.study import load_study

    study, ledger = load_study(study_file), load_ledger(folder)
    check_study(ledger, study)
    check_student_of(student_file, study)
    revoked = {past.site for past in ledger.revoked}
    found = read_evaluations(inbox, study=study, student=file_digest(student_file), revoked=revoked)
    for line in found.refused:
        typer.echo(f"refused: {line}", err=True)
    if found.others:
        typer.echo(f"Passed over {found.others} of other students, or with newer ones.")
    result = merged(found.current)
    if out is not None:
        sites = [one.model_dump(mode="json") for one in result.sites]
        write_json(out, {**asdict(result), "sites": sites})
    _say(result, study)


def _say(result: "Merged", study: "Study") -> None:
    """A table of the sites and of all together, and one of the classes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    sites = counted(len(result.sites), "site")
    typer.echo(f"{sites}, {counted(result.images, 'image')}, with 95 % intervals:")
    table, classes = Table(box=box.SIMPLE), Table(box=box.SIMPLE)
    for column in ("site", "images", "accuracy", "balanced accuracy", "AUROC", "ECE"):
        table.add_column(column, justify="left" if column == "site" else "right")
    rows: list[tuple[str, Evaluation | Merged]] = [(one.site, one) for one in result.sites]
    for name, row in (*rows, ("all", result)):
        measured = _short(row.accuracy), _short(row.balanced_accuracy)
        table.add_row(name, str(row.images), *measured, _value(row.auroc), _value(row.ece))
    for column in ("class", "sites", "images", "recall"):
        classes.add_column(column, justify="left" if column == "class" else "right")
    for name, each in zip(study.classes, result.classes, strict=True):
        classes.add_row(name, str(each.sites), str(each.images), _short(each.recall))
    console = Console(highlight=False)
    console.print(table)
    console.print(classes)
    typer.echo("AUROC and calibration error (ECE) of all: means of the sites', by their images.")


def _short(metric: "Measured | Interval | None") -> str:
    """For a table: two decimals."""
    return "-" if metric is None else f"{metric.value:.2f} [{metric.low:.2f}, {metric.high:.2f}]"


def _value(metric: "Measured | Interval | None") -> str:
    return "-" if metric is None else f"{metric.value:.2f}"
