"""`envoi predict`: a student's answers to images, without its study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.device import DeviceOption, device_called
from envoi.cli.train import ColumnsOption, ConvertOption, FitOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envoi.cli.images import Permissions
    from envoi.server.student import StudentCard
    from envoi.types import ImageSet


def predict(
    student_file: Annotated[Path, typer.Argument(metavar="STUDENT", help="Its .safetensors.")],
    data: Annotated[
        Path, typer.Argument(metavar="IMAGES", help="A .npz, a .csv table, or a folder of classes.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The .csv to write.")],
    split: Annotated[str, typer.Option(help="train, validation, test or all.")] = "all",
    fit: FitOption = "exact",
    convert: ConvertOption = False,
    columns: ColumnsOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Write the probability of every class for every image, one line an image.

    Images are numbered from 0 in the order of the file or folder. Labels are read like those of
    any data, and not used.
    """
    from envoi.cli.images import Permissions
    from envoi.files import write_text
    from envoi.server.build import predict as ask
    from envoi.server.student import load_student, student_card

    where = device_called(device)
    network, class_names, spec = load_student(student_file)
    permissions = Permissions(fit=fit, convert=convert, columns=columns or ())
    images = _images(data, split, student_card(student_file), permissions)
    rows = ask(network, images.images, spec, device=where).tolist()
    write_text(out, _csv(rows, class_names))
    typer.echo(f"Wrote {out}: {len(rows)} images.")


def _images(path: Path, split: str, card: "StudentCard", permissions: "Permissions") -> "ImageSet":
    from envoi.cli.images import read_images
    from envoi.study import Study

    # What a student says of its images is what readers want of a study.
    study = Study(
        name="prediction",
        classes=card.class_names,
        image=card.image,
        architectures=(card.architecture,),
    )
    return read_images(path, study=study, split=split, permissions=permissions)


def _csv(rows: "Iterable[Sequence[float]]", class_names: "Sequence[str]") -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "predicted", *(f"p({name})" for name in class_names)])
    for number, row in enumerate(rows):
        predicted = class_names[max(range(len(row)), key=row.__getitem__)]
        writer.writerow([number, predicted, *(f"{value:.6f}" for value in row)])
    return text.getvalue()
