"""`envoi data prepare`: public sets as their publishers pack them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.prepare import (
    BurnedInOption,
    ChannelsOption,
    FitOption,
    MissingOption,
    OrientationOption,
    OutOption,
    PolarityOption,
    SharedOption,
    WindowOption,
    next_command,
    tell_classes,
)

if TYPE_CHECKING:
    from envoi.data.prepared import Pictures
    from envoi.data.sets.source import Leniency, Scan

SourceArgument = Annotated[Path, typer.Argument(help="The folder with the publisher's files.")]
UnreadableOption = Annotated[
    bool, typer.Option("--leave-out-unreadable", help="Leave pictures out that cannot be read.")
]
SquareOption = Annotated[int, typer.Option(min=8, help="Height and width in pixels.")]


def fed_isic2019(
    source: SourceArgument,
    out: OutOption,
    size: Annotated[
        int, typer.Option(min=8, help="Of the shorter side in pixels; read it with --fit crop.")
    ] = 224,
    split: Annotated[
        str, typer.Option(help="flamby, or lesion: no lesion in training and test at once.")
    ] = "flamby",
    seed: Annotated[int, typer.Option(help="Of the split by lesion.")] = 0,
    colour_constancy: Annotated[
        bool, typer.Option(help="Take the colour of the light out, as FLamby does.")
    ] = True,
    allow_missing: MissingOption = False,
    leave_out_unreadable: UnreadableOption = False,
) -> None:
    """Prepare Fed-ISIC2019: 8 classes, 6 centres, FLamby's split or one by lesion."""
    from envoi.data.prepared import Pictures
    from envoi.data.sets import fed_isic2019 as isic
    from envoi.data.sets.source import Leniency, pictures_in

    plan = isic.IsicPlan(shorter_px=size, colour_constancy=colour_constancy, split=split, seed=seed)
    leniency = Leniency(allow_missing=allow_missing, leave_out_unreadable=leave_out_unreadable)
    place = isic.pictures_place(source)
    with pictures_in(place, isic.ENDINGS, what="photographs", remedy=isic.REMEDY) as files:
        scan = isic.scan_fed_isic2019(source, files, leniency, plan)
        _write(out, scan, Pictures(), leniency)
    typer.echo(next_command(out, " --fit crop"))


def rsna_pneumonia(
    source: SourceArgument,
    out: OutOption,
    labels: Annotated[str, typer.Option(help="target (two classes) or class (three).")] = "target",
    size: SquareOption = 224,
    fit: FitOption = "crop",
    channels: ChannelsOption = None,
    window: WindowOption = "file",
    orientation: OrientationOption = "check",
    polarity: PolarityOption = "check",
    allow_burned_in: BurnedInOption = False,
    allow_missing: MissingOption = False,
    allow_shared_ids: SharedOption = False,
    leave_out_unreadable: UnreadableOption = False,
) -> None:
    """Prepare RSNA's pneumonia challenge; images of one patient share a number.

    Put RSNA's mapping to NIH's images beside the tables: it tells the patients.
    """
    from envoi.data.dicom import DicomReading
    from envoi.data.prepared import Pictures
    from envoi.data.sets.rsna_pneumonia import scan_rsna_pneumonia
    from envoi.data.sets.source import Leniency

    reading = DicomReading(
        window=window, orientation=orientation, polarity=polarity, allow_burned_in=allow_burned_in
    )
    wanted = Pictures(size_px=size, fit=fit, channels=channels)
    leniency = Leniency(allow_missing=allow_missing, leave_out_unreadable=leave_out_unreadable)
    scan = scan_rsna_pneumonia(
        source, leniency, labels=labels, reading=reading, allow_shared_ids=allow_shared_ids
    )
    _write(out, scan, wanted, leniency)
    typer.echo(next_command(out))


def diabetic_retinopathy(
    source: SourceArgument,
    out: OutOption,
    crop_borders: Annotated[
        bool, typer.Option("--crop-borders", help="Cut the black around the eye away.")
    ] = False,
    size: SquareOption = 224,
    fit: FitOption = "crop",
    channels: ChannelsOption = None,
    allow_missing: MissingOption = False,
    leave_out_unreadable: UnreadableOption = False,
) -> None:
    """Prepare Kaggle's diabetic retinopathy of 2015; both eyes of a patient share a number."""
    from envoi.data.prepared import Pictures
    from envoi.data.sets import diabetic_retinopathy as eyes
    from envoi.data.sets.source import Leniency, pictures_in

    wanted = Pictures(size_px=size, fit=fit, channels=channels)
    leniency = Leniency(allow_missing=allow_missing, leave_out_unreadable=leave_out_unreadable)
    place = eyes.pictures_folder(source)
    with pictures_in(place, eyes.ENDINGS, what="photographs", remedy=eyes.REMEDY) as files:
        scan = eyes.scan_diabetic_retinopathy(source, files, leniency, crop_borders=crop_borders)
        _write(out, scan, wanted, leniency)
    typer.echo(next_command(out))


def _write(out: Path, scan: "Scan", pictures: "Pictures", leniency: "Leniency") -> None:
    from envoi.cli.progress import following
    from envoi.data.sets.source import write_scan
    from envoi.wording import counted

    with following() as on_step:
        count = write_scan(out, scan, pictures, leniency, on_step=on_step)
    passed = (
        (scan.matched.unlabelled, "picture", "that no label names"),
        (scan.matched.missing, "label", "whose picture is not there"),
        (scan.unreadable + len(scan.sources) - count, "picture", "that cannot be read"),
    )
    for number, noun, why in passed:
        if number:
            typer.echo(f"Passed over {counted(number, noun)} {why}.")
    groups = {source.patient for source in scan.sources} - {None}
    of = f" of {counted(len(groups), 'group')} (patients or lesions)" if groups else ""
    typer.echo(f"Wrote {out}: {counted(count, 'image')}{of}, and labels.csv.")
    tell_classes(out)
