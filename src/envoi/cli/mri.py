"""`envoi mri prepare`, and what the commands on volumes of the brain have in common."""

import itertools
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.guard import nothing_kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envoi.data.nifti import VolumePermissions
    from envoi.volumes import Subject

app = typer.Typer(no_args_is_help=True, help="Make and prepare 3D images of the brain.")

ShapeOption = Annotated[
    str | None,
    typer.Option(
        "--shape", metavar="DxHxW", help="Voxels along depth, height, width: crop and pad to it."
    ),
]
SpacingOption = Annotated[
    float | None,
    typer.Option("--spacing-mm", metavar="MM", help="Resample to cubic voxels of this size."),
]
ReorientOption = Annotated[bool, typer.Option("--reorient", help="Turn scans to RAS+.")]
CacheOption = Annotated[
    Path | None, typer.Option(help="Keep prepared volumes here.", metavar="DIR")
]
SkullOption = Annotated[bool, typer.Option("--allow-skull", help="Take heads with their skull.")]


@app.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="NIfTI files or BIDS, with participants.tsv.")],
    *,
    reorient: ReorientOption = False,
    spacing_mm: SpacingOption = None,
    shape: ShapeOption = None,
    allow_skull: SkullOption = False,
    cache: CacheOption = None,
) -> None:
    """Read, check and prepare a folder of brains; nothing is done to a scan unasked."""
    from envoi.data.brains import load_brains
    from envoi.wording import counted

    permissions = permitted(reorient, spacing_mm, shape, allow_skull)
    numbers = itertools.count(1)

    def say(subject: "Subject") -> None:
        typer.echo(f"scan {next(numbers)}: brain {subject.volume.filled_ml:.0f} ml")

    with nothing_kept() if cache is None else nullcontext():
        subjects = load_brains(folder, permissions, cache=cache, on_subject=say)
    told = f"each a {subjects[0].volume!r}{known_words(subjects)}"
    typer.echo(f"{counted(len(subjects), 'brain')}, {told}.")
    if cache is not None:
        typer.echo(f"Kept in {cache}; the same command reads them from there.")


def known_words(subjects: "Sequence[Subject]") -> str:
    """Ages, and how many are without age or sex; begins with a comma."""
    known = [subject.age_years for subject in subjects if subject.age_years is not None]
    ages = f", ages {min(known):g} to {max(known):g}" if known else ""
    unknown = {
        "age": len(subjects) - len(known),
        "sex": sum(subject.sex is None for subject in subjects),
    }
    return ages + "".join(f", {count} without {what}" for what, count in unknown.items() if count)


def permitted(
    reorient: bool,
    spacing_mm: float | None,
    shape: str | None,
    allow_skull: bool,
) -> "VolumePermissions":
    """What the options permit to be done to scans."""
    from envoi.data.nifti import VolumePermissions

    return VolumePermissions(
        reorient=reorient,
        spacing_mm=spacing_mm,
        shape=None if shape is None else sizes(shape),
        allow_skull=allow_skull,
    )


def sizes(text: str, *, where: str = "--shape") -> tuple[int, int, int]:
    """48x56x48 as numbers.

    Raises:
        SettingsError: They are no three numbers.
    """
    from envoi.errors import Problem, SettingsError

    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and 0 < int(part) < 10_000 for part in parts):
        remedy = "Write three numbers from 1 to 9999, such as 48x56x48."
        raise SettingsError(Problem("DEPTHxHEIGHTxWIDTH", ascii(text)[:80], where, remedy))
    depth, height, width = (int(part) for part in parts)
    return depth, height, width
