"""`envoi predict`: a student's answers to images, with labels or without, without its study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.device import DeviceOption, device_called
from envoi.cli.train import ColumnsOption, ConvertOption, FitOption

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def predict(
    student_file: Annotated[Path, typer.Argument(metavar="STUDENT", help="Its .safetensors.")],
    data: Annotated[
        Path,
        typer.Argument(metavar="IMAGES", help="A .npz, a .csv table, or a folder of pictures."),
    ],
    out: Annotated[Path, typer.Option("--out", help="The .csv to write.")],
    split: Annotated[str, typer.Option(help="train, validation, test or all.")] = "all",
    fit: FitOption = "exact",
    convert: ConvertOption = False,
    columns: ColumnsOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Write the probability of every class for every image, one line an image.

    No label is needed or read: of a table the column `path`, of a folder all pictures in it and
    below, of a .npz its arrays `train_images`, `val_images` and `test_images`, as far as they are
    there. Lines bear the number of the image, from 0, and its file.
    """
    from envoi.cli.images import Permissions, read_unlabelled
    from envoi.files import write_text
    from envoi.server.build import predict as ask
    from envoi.server.student import load_student
    from envoi.wording import counted

    where = device_called(device)
    network, class_names, spec = load_student(student_file)
    permissions = Permissions(fit=fit, convert=convert, columns=columns or ())
    images, files = read_unlabelled(
        data, spec=spec, class_names=class_names, split=split, permissions=permissions
    )
    rows = ask(network, images, spec, device=where).tolist()
    write_text(out, _csv(rows, files, class_names))
    typer.echo(f"Wrote {out}: {counted(len(rows), 'image')}.")


def _csv(
    rows: "Iterable[Sequence[float]]", files: "Sequence[str]", class_names: "Sequence[str]"
) -> str:
    """A column `file` where there are files."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    named = ["file"] if files else []
    writer.writerow(["image", *named, "predicted", *(f"p({name})" for name in class_names)])
    for number, row in enumerate(rows):
        predicted = class_names[max(range(len(row)), key=row.__getitem__)]
        values = [f"{value:.6f}" for value in row]
        writer.writerow([number, *files[number : number + 1], predicted, *values])
    return text.getvalue()
