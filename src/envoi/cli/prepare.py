"""`envoi data prepare`: DICOM folders and public sets as pictures with a table, once."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from envoi.data.dicom import DicomSet

_CLASSES_SHOWN = 30

app = typer.Typer(
    no_args_is_help=True,
    help="Make a set that every command reads: PNG pictures and labels.csv. MedMNIST's files are "
    "read as they are.",
)

OutOption = Annotated[Path, typer.Option("--out", help="The folder of the set; a new one.")]
SizeOption = Annotated[
    int | None, typer.Option(min=8, help="Height and width in pixels; as they are without it.")
]
FitOption = Annotated[str, typer.Option(help="crop (the middle) or resize (squeeze).")]
ChannelsOption = Annotated[
    int | None, typer.Option(help="1 for grey, 3 for colour; as they are without it.")
]


LabelsOption = Annotated[
    Path,
    typer.Option(
        help="A .csv with a column StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID or "
        "AccessionNumber, and a column label."
    ),
]
PseudonymsOption = Annotated[
    Path | None,
    typer.Option(
        help="The key that `envoi data pull` used, where files are pseudonymous and the table is "
        "not."
    ),
]
WindowOption = Annotated[
    str, typer.Option(help="file, stored, content, or CENTRE,WIDTH (write --window=-600,1500).")
]
OrientationOption = Annotated[
    str, typer.Option(help="check, standard (turn images) or stored (take them as they are).")
]
PolarityOption = Annotated[
    str,
    typer.Option(
        help="check, or which attribute tells whether low values are black: photometric or "
        "presentation."
    ),
]
BurnedInOption = Annotated[
    bool,
    typer.Option(
        "--allow-burned-in-annotation",
        help="Take images whose pixels hold text, or may. Look at them before.",
    ),
]
MissingOption = Annotated[
    bool, typer.Option("--allow-missing", help="Pass over labels whose picture is not there.")
]
SharedOption = Annotated[
    bool, typer.Option("--allow-shared-ids", help="All that bear one PatientID are one patient.")
]

ListOption = Annotated[
    Path | None,
    typer.Option(
        "--list-problems",
        metavar="FILE",
        help="Write each file's path and what is wrong with it into FILE (.csv). It names files, "
        "so it stays with you.",
    ),
]


@app.command()
def dicom(
    folder: Annotated[Path, typer.Argument(help="DICOM files, at any depth.")],
    labels: LabelsOption,
    out: OutOption,
    label_column: Annotated[str, typer.Option(help="Name of the column of labels.")] = "label",
    pseudonyms: PseudonymsOption = None,
    size: SizeOption = None,
    fit: FitOption = "crop",
    channels: ChannelsOption = None,
    window: WindowOption = "file",
    frames: Annotated[str, typer.Option(help="Of files of several: one, middle or all.")] = "one",
    orientation: OrientationOption = "check",
    polarity: PolarityOption = "check",
    allow_burned_in: BurnedInOption = False,
    allow_missing: MissingOption = False,
    allow_shared_ids: SharedOption = False,
    list_problems: ListOption = None,
) -> None:
    """Prepare a folder of DICOM files; nothing identifying is in the set.

    Files that the table does not name are passed over. Images of one PatientID share a number.
    Messages count files: file 11 is line 11 of `find FOLDER/ -not -type d | LC_ALL=C sort`.
    """
    from envoi.cli.progress import following
    from envoi.data.dicom import DicomReading, scan_dicom
    from envoi.data.dicom.labels import hidden_by, read_labels
    from envoi.data.dicom.problem_list import listing
    from envoi.data.dicom.pseudonyms import load_pseudonym_key
    from envoi.data.dicom.set import write_dicom_set
    from envoi.data.prepared import Pictures, check_apart

    check_apart(folder, out)
    reading = DicomReading(
        window=window,
        frames=frames,
        orientation=orientation,
        polarity=polarity,
        allow_burned_in=allow_burned_in,
    )
    wanted = Pictures(size_px=size, fit=fit, channels=channels)
    hidden = None if pseudonyms is None else hidden_by(load_pseudonym_key(pseudonyms))
    said = read_labels(labels, label=label_column, hidden=hidden)
    with listing(list_problems) as listed, following() as on_step:
        permitted = {"allow_missing": allow_missing, "allow_shared_ids": allow_shared_ids}
        found = scan_dicom(folder, said, reading, listed=listed, **permitted)
        count = write_dicom_set(out, found, reading, wanted, listed=listed, on_step=on_step)
    for line in _told(found):
        typer.echo(line)
    typer.echo(f"Wrote {out}: {_images_of_patients(count, found)}, and labels.csv.")
    tell_classes(out)
    typer.echo(next_command(out))


def tell_classes(out: Path) -> None:
    """Print the classes of a finished set with their counts, and warn of those that look alike."""
    from envoi.data.prepared import class_counts, like_names

    counts = class_counts(out)
    shown = [f"{name} {count}" for name, count in counts.items()][:_CLASSES_SHOWN]
    more = f" and {len(counts) - len(shown)} more" if len(counts) > len(shown) else ""
    typer.echo(
        f"{len(counts)} {'class' if len(counts) == 1 else 'classes'}: {', '.join(shown)}{more}."
    )
    for names in like_names(counts):
        typer.echo(
            f"warning: the classes {' and '.join(map(repr, names))} differ only in case, in spaces "
            "or in how letters are written. If they are one, write it in one way in the table of "
            "labels, and prepare a new set.",
            err=True,
        )


def next_command(out: Path, options: str = "") -> str:
    """What to do with a set that is finished, to be printed below what was written.

    Args:
        out: Its folder.
        options: Of the training, if this set needs any.
    """
    data = shlex.quote(str(out))
    return (
        f"Next: envoi site train --study study.toml --site SITE --work WORK --data {data}{options}"
    )


def _images_of_patients(count: int, found: "DicomSet") -> str:
    from envoi.wording import counted

    patients = len({row.patient for row in found.rows})
    return f"{counted(count, 'image')} of {counted(patients, 'patient')}"


def _told(found: "DicomSet") -> Iterator[str]:
    from envoi.wording import counted

    if found.others:
        verb = "is" if found.others == 1 else "are"
        yield f"Passed over {counted(found.others, 'file')} that {verb} no DICOM."
    if found.unlabelled:
        yield f"Passed over {counted(found.unlabelled, 'DICOM file')} that the table does not name."
    if found.missing:
        yield f"Passed over {counted(found.missing, 'label')} whose picture is not there."
    if found.annotated:
        files = counted(found.annotated, "file")
        yield f"Taken with permission: {files} whose pixels hold annotations, or may."
