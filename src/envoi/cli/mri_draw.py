"""`envoi mri sample` and `envoi mri complete`: volumes out of a trained model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envoi.cli.device import DeviceOption
from envoi.cli.guard import nothing_kept
from envoi.cli.mri import ReorientOption, ShapeOption, SkullOption, SpacingOption, permitted
from envoi.cli.mri_options import MemoryOption, PrecisionOption, SeedOption, one_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envoi.mri.slabs import Plane

RunArgument = Annotated[Path, typer.Argument(help="A folder that `envoi mri train` wrote.")]
AgeOption = Annotated[
    float | None, typer.Option("--age", min=0, max=120, help="In years; left out: any.")
]
SexOption = Annotated[
    str | None, typer.Option("--sex", help="female or male (f, m); left out: any.")
]
StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, help="Of the solver; 20, or the paper's 1000.")
]


def sample(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="The folder of the volumes.")],
    count: Annotated[int, typer.Option(min=1, help="How many volumes.")] = 1,
    age: AgeOption = None,
    sex: SexOption = None,
    steps: StepsOption = None,
    memory_gib: MemoryOption = None,
    seed: SeedOption = 0,
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
) -> None:
    """Draw volumes of people who do not exist; each file and its sidecar say so.

    Called again, it draws those that are missing.
    """
    from envoi.cli.mri_drawing import Drawing, Person
    from envoi.files import check_writable
    from envoi.mri.brain import as_volume

    _check_own(out)
    check_writable(out)
    drawing = Drawing(run, Person.called(age, sex), memory_gib, steps, precision, device)
    if drawing.fit_words:
        typer.echo(drawing.fit_words)
    files = [out / f"synthetic-{number:04d}_T1w.nii.gz" for number in range(1, count + 1)]
    drawn = [drawing.has_drawn(file, seed, number) for number, file in enumerate(files, start=1)]
    for number, file in enumerate(files, start=1):
        if not drawn[number - 1]:
            voxels, cost = drawing.one(seed=seed, number=number)
            volume = as_volume(voxels, drawing.card.grid, drawing.card.faintest)
            drawing.write(volume, file, seed, number, {"Cost": cost})
        before = ", drawn before" if drawn[number - 1] else ""
        typer.echo(f"{number} of {count}: {file.name}{before}")


@nothing_kept()
def complete(
    run: RunArgument,
    given: Annotated[Path, typer.Option("--given", help="A scan of the model's grid.")],
    out: Annotated[Path, typer.Option("--out", help="The completed volume, .nii or .nii.gz.")],
    slices: Annotated[
        str | None,
        typer.Option("--slices", help="Kept slices, counted from 0: 40:60 is 40 to 59; or 3,7,12."),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option("--every", min=1, metavar="N", help="Keep slices 0, N, 2N and so on."),
    ] = None,
    plane: Annotated[str, typer.Option(help="axial, coronal or sagittal.")] = "axial",
    age: AgeOption = None,
    sex: SexOption = None,
    steps: StepsOption = None,
    memory_gib: MemoryOption = None,
    seed: SeedOption = 0,
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    reorient: ReorientOption = False,
    spacing_mm: SpacingOption = None,
    shape: ShapeOption = None,
    allow_skull: SkullOption = False,
) -> None:
    """Keep some slices of a scan and generate the others."""
    from envoi.cli.mri_drawing import Drawing, Person
    from envoi.data.nifti import mark_of, read_nifti
    from envoi.mri.asked import check_scan
    from envoi.mri.brain import completed
    from envoi.mri.given import given_slices

    _check_new(out)
    facing = _plane(plane)
    drawing = Drawing(run, Person.called(age, sex), memory_gib, steps, precision, device)
    permissions = permitted(reorient, spacing_mm, shape, allow_skull)
    scan = read_nifti(given, permissions, where="--given")
    mark = mark_of(given)
    check_scan(drawing.card, scan, where="--given")
    if drawing.fit_words:
        typer.echo(drawing.fit_words)
    known = given_slices(scan.voxels, facing, slices=slices, every=every)
    voxels, cost = drawing.one(seed=seed, number=1, given=known)
    volume = completed(voxels, scan, known.mask.numpy() > 0, drawing.card.faintest)
    kept = slices if every is None else f"every {every}"
    drawing.write(volume, out, seed, 1, {**_about_given(kept, mark), "Plane": plane, "Cost": cost})
    kept_words = f"{plane} slices {slices}" if every is None else f"one in {every} {plane} slices"
    scan_words = "a volume that is marked as made" if mark else "the scan"
    typer.echo(f"Completed around {kept_words} of {scan_words}: {out.name}")


def _about_given(kept: str | None, mark: "Mapping[str, Any]") -> dict[str, object]:
    """What a sidecar tells of given slices: those of a made volume are not real, or not all."""
    if not mark:
        return {"PartlyReal": True, "RealSlices": kept}
    return {"PartlyReal": mark.get("PartlyReal") is True, "GivenSlices": kept}


def _check_own(out: Path) -> None:
    """Refuse a folder that holds anything but drawn volumes, before anything is computed."""
    from envoi.errors import Problem, StorageError

    own = ("synthetic-", ".")
    others = out.is_dir() and any(not file.name.startswith(own) for file in out.iterdir())
    if others:
        remedy = "Choose another --out, or move the other files away."
        raise StorageError(Problem("a folder of drawn volumes", "other files", out.name, remedy))


def _check_new(out: Path) -> None:
    """Refuse a file that exists, or one that cannot be written, before anything is computed."""
    from envoi.data.nifti import sidecar_beside
    from envoi.errors import Problem, StorageError
    from envoi.files import check_writable

    for file, what in ((out, "one that exists"), (sidecar_beside(out), "its .json that exists")):
        if file.exists():
            remedy = "Choose another --out, or move the old file away."
            raise StorageError(Problem("a new file", what, "--out", remedy))
    check_writable(out.parent)


def _plane(name: str) -> "Plane":
    from envoi.mri.slabs import Plane

    return Plane(one_of(("axial", "coronal", "sagittal"), name, "--plane"))
