"""`envoi mri`: volumes of the brain, made and prepared."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
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
def phantom(
    subjects: Annotated[int, typer.Option(min=1, help="How many to draw.", metavar="N")],
    out: Annotated[Path, typer.Option(help="The folder to write; new or empty.")],
    shape: Annotated[
        str, typer.Option(metavar="DxHxW", help="Voxels along depth, height and width.")
    ] = "48x56x48",
    spacing_mm: Annotated[float, typer.Option(metavar="MM", help="Size of a voxel.")] = 4.0,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal brains.")] = 0,
) -> None:
    """Draw made brains, with a table of ages and true ventricle volumes."""
    from envoi.data.nifti import write_nifti
    from envoi.data.participants import write_participants
    from envoi.errors import Problem, StorageError
    from envoi.mri.phantoms import draw_phantoms

    if out.is_dir() and any(out.iterdir()):
        remedy = "Choose another --out, or move the old files away."
        raise StorageError(Problem("a new or empty folder", "a full one", out.name, remedy))
    settings = {"Shape": shape, "SpacingMM": spacing_mm}
    drawn = draw_phantoms(subjects, seed, sizes(shape), spacing_mm)
    for number, made in enumerate(drawn, start=1):
        sidecar = {
            "Model": "envoi.mri.phantoms",
            "Seed": seed,
            "Number": number,
            "Settings": settings,
            "VentriclesML": round(made.ventricles_ml, 3),
        }
        path = out / f"{made.subject.name}_T1w.nii.gz"
        write_nifti(made.subject.volume, path, sidecar, stored_as="uint8")
        typer.echo(f"{_told(made.subject)}, ventricles {made.ventricles_ml:.1f} ml")
    truth = [f"{made.ventricles_ml:.3f}" for made in drawn]
    write_participants(out, [made.subject for made in drawn], {"ventricles_ml": truth})
    typer.echo(f"Wrote {subjects} made brains and participants.tsv to {out}.")


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

    permissions = permitted(reorient, spacing_mm, shape, allow_skull)
    numbers = itertools.count(1)
    subjects = load_brains(
        folder,
        permissions,
        cache=cache,
        on_subject=lambda subject: typer.echo(f"scan {next(numbers)}: {_filled(subject)}"),
    )
    known = [subject.age_years for subject in subjects if subject.age_years is not None]
    ages = f", ages {min(known):g} to {max(known):g}" if known else ""
    typer.echo(f"{len(subjects)} brains, each a {subjects[0].volume!r}{ages}.")
    if cache is not None:
        typer.echo(f"Kept in {cache}; the same command reads them from there.")


def _told(subject: "Subject") -> str:
    """One line on somebody who does not exist."""
    age = "age unknown" if subject.age_years is None else f"{subject.age_years:g} years"
    return f"{subject.name}: {subject.sex or 'sex unknown'}, {age}, {_filled(subject)}"


def _filled(subject: "Subject") -> str:
    filled_ml = float((subject.volume.voxels > 0).sum()) * subject.volume.grid.voxel_ml
    return f"brain {filled_ml:.0f} ml"


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


def sizes(text: str) -> tuple[int, int, int]:
    """48x56x48 as numbers."""
    from envoi.errors import Problem, SettingsError

    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and 0 < int(part) < 10_000 for part in parts):
        remedy = "Write three numbers, such as 48x56x48."
        raise SettingsError(Problem("DEPTHxHEIGHTxWIDTH", ascii(text)[:80], "--shape", remedy))
    depth, height, width = (int(part) for part in parts)
    return depth, height, width
