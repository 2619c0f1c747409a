"""`envoi mri phantom`: made brains, each in its file as soon as it is drawn."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envoi.cli.mri import sizes

if TYPE_CHECKING:
    from envoi.mri.phantoms import Phantom


def phantom(
    subjects: Annotated[int, typer.Option(min=1, help="How many to draw.", metavar="N")],
    out: Annotated[Path, typer.Option(help="The folder to write; new or empty.")],
    shape: Annotated[
        str, typer.Option(metavar="DxHxW", help="Voxels along depth, height and width.")
    ] = "48x56x48",
    spacing_mm: Annotated[float, typer.Option(metavar="MM", help="Size of a voxel.")] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal brains.")] = 0,
) -> None:
    """Draw made brains, with a table of ages and true ventricle volumes.

    Called again after an interruption, it goes on; participants.tsv comes last.
    """
    from envoi.data.nifti import write_nifti
    from envoi.data.participants import TABLE, write_participants
    from envoi.files import check_writable
    from envoi.mri.phantoms import draw_phantom, phantom_name
    from envoi.wording import counted

    voxels = sizes(shape)
    common = {
        "Model": "envoi.mri.phantoms",
        "Seed": seed,
        "Settings": {"Shape": shape, "SpacingMM": spacing_mm},
    }
    check_writable(out)
    known, paths = _written(out, subjects, common), _paths(out, subjects)
    if all(path.exists() for path in (*paths, out / TABLE)):
        typer.echo(f"{counted(subjects, 'made brain')} and {TABLE} were written before: {out}.")
        return
    for number, path in enumerate(paths, start=1):
        if not path.exists():
            made = draw_phantom(number, seed, voxels, spacing_mm)
            known[number] = _sidecar(made, number, common)
            write_nifti(made.subject.volume, path, known[number], stored_as="uint8")
        typer.echo(_told(number, known[number]))
    told = {phantom_name(number): known[number] for number in range(1, subjects + 1)}
    write_participants(
        out,
        {name: (sidecar["Age"], sidecar["Sex"]) for name, sidecar in told.items()},
        {"ventricles_ml": [f"{sidecar['VentriclesML']:.3f}" for sidecar in told.values()]},
    )
    typer.echo(f"Wrote {counted(subjects, 'made brain')} and {TABLE} to {out}.")


def _paths(out: Path, subjects: int) -> list[Path]:
    from envoi.mri.phantoms import phantom_name

    return [out / f"{phantom_name(number)}_T1w.nii.gz" for number in range(1, subjects + 1)]


def _sidecar(made: "Phantom", number: int, common: "Mapping[str, Any]") -> dict[str, Any]:
    """What is known of a made brain."""
    return {
        **common,
        "Number": number,
        "Age": made.subject.age_years,
        "Sex": made.subject.sex,
        "BrainML": round(made.subject.volume.filled_ml, 3),
        "VentriclesML": round(made.ventricles_ml, 3),
    }


def _written(
    out: Path, subjects: int, common: "Mapping[str, Any]"
) -> dict[int, "Mapping[str, Any]"]:
    """Sidecars of what this very command has written before it was interrupted.

    Raises:
        StorageError: The folder holds anything else.
    """
    from envoi.data.nifti import sidecar_beside
    from envoi.data.participants import TABLE
    from envoi.errors import Problem, StorageError
    from envoi.files import read_json

    found = {file.name for file in out.iterdir() if file.name[0] != "."} if out.is_dir() else set()
    remedy = "Choose another --out, or move the old files away."
    known: dict[int, Mapping[str, Any]] = {}
    for number, path in enumerate(_paths(out, subjects), start=1):
        sidecar = sidecar_beside(path)
        if sidecar.exists():
            told = read_json(sidecar, what="the sidecar of a made brain", remedy=remedy)
            # Sidecars of other versions may lack what the table needs.
            whole = {"Age", "Sex", "BrainML", "VentriclesML"} <= told.keys()
            if whole and {**common, "Number": number}.items() <= told.items():
                known[number] = told
                found -= {sidecar.name, path.name}
    if len(known) == subjects:
        found.discard(TABLE)
    if found:
        raise StorageError(Problem("a new or empty folder", "a full one", out.name, remedy))
    return known


def _told(number: int, sidecar: "Mapping[str, Any]") -> str:
    """One line on somebody who does not exist."""
    from envoi.mri.phantoms import phantom_name

    return (
        f"{phantom_name(number)}: {sidecar['Sex']}, {sidecar['Age']:g} years, "
        f"brain {sidecar['BrainML']:.0f} ml, ventricles {sidecar['VentriclesML']:.1f} ml"
    )
