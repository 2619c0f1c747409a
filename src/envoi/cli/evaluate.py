"""`envoi server endorse` and `envoi site evaluate`: a student goes back to where images are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.device import DeviceOption, device_called
from envoi.cli.outgoing import FileOption, new_file
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
    from envoi.cli.images import Part
    from envoi.results import Interval
    from envoi.study import Study
    from envoi.submission.evaluation import Evaluation, Measured

StudentArgument = Annotated[
    Path, typer.Argument(metavar="STUDENT", help="The student's .safetensors, from the server.")
]
KeyOption = Annotated[Path, typer.Option("--key", help="Your private key file.")]
WorkOption = Annotated[
    Path | None,
    typer.Option("--work", help="The working folder of `train`; its images are looked for."),
]
SeenOption = Annotated[
    bool, typer.Option("--allow-training-images", help="Evaluate on images of the training too.")
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
    out: FileOption,
    work: WorkOption = None,
    split: SplitOption = None,
    rows: RowsOption = None,
    fit: FitOption = "exact",
    convert: ConvertOption = False,
    columns: ColumnsOption = None,
    sequence: NumberOption = 1,
    unsigned: UnsignedOption = False,
    seen: SeenOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Evaluate the study's student on your images; write signed metrics of whole classes.

    Take images that no training has seen; --work looks whether they are. Classes of fewer images
    than the study's minimum are left out.
    """
    from datetime import UTC, datetime

    from envoi.cli.images import Permissions, read_part
    from envoi.evaluation.federated import Origin, site_evaluation
    from envoi.files import file_digest
    from envoi.server.build import predict
    from envoi.server.student import check_student_of, load_student
    from envoi.study import load_study
    from envoi.submission import load_key
    from envoi.submission.evaluation import SUFFIX, write_evaluation

    where, study, private = device_called(device), load_study(study_file), load_key(key)
    remedy = "Choose such a name: the server knows evaluations by it."
    file = new_file(out, f"{site}-{sequence}{SUFFIX}", ending=SUFFIX, remedy=remedy)
    check_student_of(student_file, study)
    _check_endorsed(student_file, study, unsigned=unsigned)
    permissions = Permissions(fit=fit, convert=convert, columns=columns or ())
    part = read_part(data, study=study, split=split, own="test", rows=rows, permissions=permissions)
    images, compared = part.images, _compared(part, work, site, study, allowed=seen)
    student = load_student(student_file)
    answers = predict(student.network, images.images, student.image, device=where)
    today = datetime.now(UTC).date()
    origin = Origin(study.digest, site, sequence, today, file_digest(student_file))
    evaluation = site_evaluation(
        answers, images.labels, patients=images.patients, policy=study.statistics, origin=origin
    )
    write_evaluation(file, evaluation, study=study, key=private)
    chosen = "" if rows is None else ", the rows of --rows"
    typer.echo(f"Evaluated on {counted(len(images), 'image')} of yours, {part}{chosen}.")
    typer.echo(f"{compared}\n")
    _say_written(file, evaluation, study)


def _say_written(file: Path, evaluation: "Evaluation", study: "Study") -> None:
    from envoi.files import file_digest

    typer.echo("This leaves the hospital, and nothing else:\n")
    for line in _described(evaluation, study):
        typer.echo(f"  - {line}")
    typer.echo(f"\nWrote {file}: {file.stat().st_size} bytes, sha256 {file_digest(file)}.")


def _compared(part: "Part", work: Path | None, site: str, study: "Study", *, allowed: bool) -> str:
    """What is known of whether the training has seen these images, as a sentence.

    Raises:
        DataError: It has seen some, and that is not permitted.
    """
    from envoi.errors import DataError, Problem
    from envoi.site import Workspace, seen_among

    trained_on = None if work is None else Workspace(work, site).load(study=study).trained_on
    if trained_on is None:
        if part.split != "test" or not part.is_own:
            how = (
                "Give --work, your folder of the training" if work is None else "Train with --again"
            )
            line = (
                f"images of the training may be among these, {part}. {how}, to have them looked for"
            )
            typer.echo(f"warning: {line}.", err=True)
        return "Whether your training has seen them was not looked for."
    seen, count = seen_among(part.images, trained_on), len(part.images)
    if not seen:
        return "None of them is among the images of the training in the working folder."
    if not allowed:
        expected, found = (
            "images that no training has seen",
            f"{seen} of {count} that yours was given",
        )
        remedy = "Choose others with --split or --rows, or permit it: --allow-training-images."
        raise DataError(Problem(expected, found, "images", remedy))
    line = f"{seen} of them your training was given: the student may know them"
    typer.echo(f"warning: {line}.", err=True)
    return f"{line}, and the metrics flatter it."


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
        f"Over {counted(evaluation.images, 'image')}: accuracy {_told(evaluation.accuracy)}, "
        f"balanced accuracy {_told(evaluation.balanced_accuracy)}, "
        f"AUROC {_told(evaluation.auroc)}, calibration error {_told(evaluation.ece)}."
    )
    each = [
        f"{name}: {counted(one.images, 'image')}, recall {_told(one.recall)}, "
        f"AUROC {_told(one.auroc)}."
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


def _told(metric: "Measured | Interval | None") -> str:
    if metric is None:
        return "-"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"
