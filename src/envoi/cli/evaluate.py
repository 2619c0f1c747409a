"""`envoi site evaluate` and `envoi server evaluations`: a student where the images are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.device import DeviceOption, device_called
from envoi.cli.server import FolderOption
from envoi.cli.train import (
    ColumnsOption,
    ConvertOption,
    DataOption,
    FitOption,
    RowsOption,
    SiteOption,
    StudyOption,
)
from envoi.wording import counted

if TYPE_CHECKING:
    from envoi.evaluation.federated import Merged
    from envoi.results import Interval
    from envoi.study import Study
    from envoi.submission.evaluation import Evaluation, Measured

StudentArgument = Annotated[
    Path, typer.Argument(metavar="STUDENT", help="The student's .safetensors, from the server.")
]
KeyOption = Annotated[Path, typer.Option("--key", help="Your private key file.")]
EvaluationOption = Annotated[
    Path, typer.Option("--out", metavar="PATH", help="The file to write, NAME.evaluation.json.")
]
MergedOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="A .json file to write; `envoi report RUN` shows RUN/evaluations.json.",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        help="train, validation, test or all. [default: test if the data has parts, else all]"
    ),
]
NumberOption = Annotated[
    int, typer.Option("--sequence", min=0, help="Of several about one student the highest counts.")
]
UnsignedOption = Annotated[
    bool,
    typer.Option("--unsigned", help="Take a student without its server's signature beside it."),
]


def endorse(
    student_file: StudentArgument,
    study_file: StudyOption,
    key: Annotated[Path, typer.Option("--key", help="The server's private key file.")],
) -> None:
    """Sign a student before it goes back, so that nobody can swap it on its way.

    Writes STUDENT.endorsement.json beside it; send both. `envoi site evaluate` checks it.
    """
    from envoi.files import file_digest
    from envoi.server.student import check_student_of
    from envoi.study import load_study
    from envoi.submission import load_key
    from envoi.submission.endorsement import endorse as sign_student

    study, private = load_study(study_file), load_key(key)
    check_student_of(student_file, study)
    path = sign_student(student_file, study=study, key=private)
    typer.echo(f"Signed {student_file.name}, sha256 {file_digest(student_file)}: {path}")


def evaluate(
    *,
    student_file: StudentArgument,
    study_file: StudyOption,
    site: SiteOption,
    key: KeyOption,
    data: DataOption,
    out: EvaluationOption,
    split: SplitOption = None,
    rows: RowsOption = None,
    fit: FitOption = "exact",
    convert: ConvertOption = False,
    columns: ColumnsOption = None,
    sequence: NumberOption = 1,
    unsigned: UnsignedOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Evaluate the study's student on your images; write signed metrics of whole classes.

    Take images that no training has seen. Classes of fewer images than the study's minimum are
    left out.
    """
    from datetime import UTC, datetime

    from envoi.cli.images import Permissions, read_images
    from envoi.evaluation.federated import Origin, site_evaluation
    from envoi.files import file_digest
    from envoi.server.build import predict
    from envoi.server.student import check_student_of, load_student
    from envoi.study import load_study
    from envoi.submission import load_key
    from envoi.submission.evaluation import write_evaluation

    where, study, private = device_called(device), load_study(study_file), load_key(key)
    _check_name(out)
    check_student_of(student_file, study)
    _check_endorsed(student_file, study, unsigned=unsigned)
    permissions = Permissions(fit=fit, convert=convert, columns=columns or ())
    images = read_images(
        data, study=study, split=split, own="test", rows=rows, permissions=permissions
    )
    student = load_student(student_file)
    answers = predict(student.network, images.images, student.image, device=where)
    today = datetime.now(UTC).date()
    origin = Origin(study.digest, site, sequence, today, file_digest(student_file))
    evaluation = site_evaluation(
        answers, images.labels, patients=images.patients, policy=study.statistics, origin=origin
    )
    write_evaluation(out, evaluation, study=study, key=private)
    typer.echo("This leaves the hospital, and nothing else:\n")
    for line in _described(evaluation, study):
        typer.echo(f"  - {line}")
    typer.echo(f"\nWrote {out}: {out.stat().st_size} bytes, sha256 {file_digest(out)}.")


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


def _check_name(out: Path) -> None:
    from envoi.errors import Problem, SettingsError, StorageError
    from envoi.submission.evaluation import SUFFIX

    if not out.name.endswith(SUFFIX):
        remedy = "Choose such a name: the server knows evaluations by it."
        raise SettingsError(Problem(f"NAME{SUFFIX}", out.name, "--out", remedy))
    if out.exists():
        remedy = "Choose another name, or move the old file away."
        raise StorageError(Problem("a new file", "an existing one", out.name, remedy))


def _check_endorsed(file: Path, study: "Study", *, unsigned: bool) -> None:
    """Refuse a student that the study's server has not signed, if it signs at all."""
    from envoi.errors import CheckError, Problem
    from envoi.submission.endorsement import check_endorsement, endorsement_of

    if unsigned or "receipts" not in study.server_keys:
        return
    path = endorsement_of(file)
    if not path.exists():
        remedy = "Ask the coordinator for it (`envoi server endorse`), or give --unsigned."
        raise CheckError(Problem(f"{path.name} beside the student", "none", file.name, remedy))
    signed = check_endorsement(path, study=study, student=file)
    typer.echo(f"The student is signed with the server's key {signed.server}.")


def _described(evaluation: "Evaluation", study: "Study") -> list[str]:
    """All that the file holds, in plain words."""
    told = [
        (name, one)
        for name, one in zip(study.classes, evaluation.classes, strict=True)
        if one.recall is not None
    ]
    left_out = [name for name, one in zip(study.classes, evaluation.classes, strict=True)
                if one.recall is None]  # fmt: skip
    minimum = study.statistics.minimum_class_size
    who = (
        f"The site's id, {evaluation.site}, number {evaluation.sequence} and the day of writing, "
        f"{evaluation.created.isoformat()} (UTC)."
    )
    whole = (
        f"Over {evaluation.images} images: accuracy {_told(evaluation.accuracy)}, balanced "
        f"accuracy {_told(evaluation.balanced_accuracy)}, AUROC {_told(evaluation.auroc)}, "
        f"calibration error {_told(evaluation.ece)}."
    )
    each = [
        f"{name}: {one.images} images, recall {_told(one.recall)}, AUROC {_told(one.auroc)}."
        for name, one in told
    ]
    lines = [
        who,
        f"Checksums of the study file and of the student's file ({evaluation.student[:12]}...).",
        whole,
        *each,
        f"Of each class which share is taken for which, where that is {minimum} images or more.",
        "Recall tells how many images of a class are taken for others in all.",
        "Intervals from " + ("patients" if evaluation.by_patient else "images") + " drawn anew.",
    ]
    if left_out:
        who = "patients" if evaluation.by_patient else "images"
        lines.append(f"Nothing of classes with fewer than {minimum} {who}: {len(left_out)}.")
    return [*lines, "The site's signature over all of this. Nothing of a single image or patient."]


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


def _told(metric: "Measured | Interval | None") -> str:
    if metric is None:
        return "-"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"
