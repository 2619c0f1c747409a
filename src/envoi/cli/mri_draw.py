"""`envoi mri sample` and `envoi mri complete`: volumes out of a trained model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from envoi.cli.device import DeviceOption, device_called
from envoi.cli.mri import ReorientOption, ShapeOption, SkullOption, SpacingOption, permitted
from envoi.cli.mri_options import (
    MemoryOption,
    PrecisionOption,
    SeedOption,
    fitted_to,
    one_of,
    precision_called,
)

if TYPE_CHECKING:
    from envoi.mri.given import Given
    from envoi.mri.modes import ModelCard
    from envoi.mri.slabs import Plane
    from envoi.volumes import Sex, Volume

RunArgument = Annotated[Path, typer.Argument(help="A folder that `envoi mri train` wrote.")]
AgeOption = Annotated[
    float | None, typer.Option("--age", min=0, max=120, help="In years; left out: any.")
]
SexOption = Annotated[str | None, typer.Option("--sex", help="female or male; left out: any.")]
StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, help="Of the solver; 40, or the paper's 1000.")
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
    from envoi.mri.brain import as_volume

    drawing = _Drawing(run, memory_gib, steps, precision, device)
    person = {"Age": age, "Sex": sex}
    files = [out / f"synthetic-{number:04d}_T1w.nii.gz" for number in range(1, count + 1)]
    drawn = [
        drawing.has_drawn(file, seed, number, person) for number, file in enumerate(files, start=1)
    ]
    _check_own(out)
    for number, file in enumerate(files, start=1):
        if not drawn[number - 1]:
            voxels, cost = drawing.one(age, sex, seed=seed, number=number)
            volume = as_volume(voxels, drawing.card.grid, drawing.card.faintest)
            drawing.write(volume, file, seed, number, person, {"Cost": cost})
        typer.echo(f"{number} of {count}: {file.name}")


def complete(
    run: RunArgument,
    given: Annotated[Path, typer.Option("--given", help="A scan of the model's grid.")],
    out: Annotated[Path, typer.Option("--out", help="The completed volume, .nii or .nii.gz.")],
    slices: Annotated[
        str | None, typer.Option("--slices", help="Kept slices: 40:60, or 3,7,12.")
    ] = None,
    every: Annotated[int | None, typer.Option("--every", min=1, help="Keep every n-th.")] = None,
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
    from envoi.data.nifti import read_nifti
    from envoi.mri.brain import completed
    from envoi.mri.given import given_slices

    _check_new(out)
    drawing = _Drawing(run, memory_gib, steps, precision, device)
    permissions = permitted(reorient, spacing_mm, shape, allow_skull)
    scan = _on_grid(read_nifti(given, permissions, where="--given"), drawing.card)
    known = given_slices(scan.voxels, _plane(plane), slices=slices, every=every)
    voxels, cost = drawing.one(age, sex, seed=seed, number=1, given=known)
    volume = completed(voxels, scan, known.mask.numpy() > 0, drawing.card.faintest)
    kept = slices if every is None else f"every {every}"
    real = {"PartlyReal": True, "RealSlices": kept, "Plane": plane}
    drawing.write(volume, out, seed, 1, {"Age": age, "Sex": sex}, {**real, "Cost": cost})
    typer.echo(f"Completed around {plane} slices {kept} of the scan: {out.name}")


def _check_own(out: Path) -> None:
    """Refuse a folder that holds anything but drawn volumes, before anything is computed."""
    from envoi.errors import Problem, StorageError

    others = out.is_dir() and any(not file.name.startswith("synthetic-") for file in out.iterdir())
    if others:
        remedy = "Choose another --out, or move the other files away."
        raise StorageError(Problem("a folder of drawn volumes", "other files", out.name, remedy))


def _check_new(out: Path) -> None:
    """Refuse a file that exists, or one that cannot be written, before anything is computed."""
    from envoi.data.nifti import stem_of
    from envoi.errors import Problem, StorageError

    stem_of(out)
    if out.exists():
        raise StorageError(Problem("a new file", "one that exists", "--out", "Choose another."))


class _Drawing:
    """A trained model, ready to draw on a device."""

    def __init__(
        self,
        run: Path,
        memory_gib: float | None,
        steps: int | None,
        precision: str,
        device: str,
    ) -> None:
        from envoi.files import file_digest
        from envoi.mri.modes import plan_of, read_card, read_model, usual_steps

        self._device, self._precision = device_called(device), precision_called(precision)
        file, slabs = run / "model.safetensors", 1
        self.card = read_card(file)
        if memory_gib is not None:
            plan = plan_of(self.card.mode, self.card.grid.shape, self.card.plan)
            fit = fitted_to(plan, "sample", memory_gib, precision, self._device.type)
            slabs, self._precision = fit.use.slabs_at_once, fit.use.precision
        self._digest = file_digest(file)
        self._model = read_model(file, slabs_at_once=slabs).to(self._device)
        self.steps = steps or usual_steps(self.card.mode)

    def one(
        self,
        age: float | None,
        sex: str | None,
        *,
        seed: int,
        number: int,
        given: "Given | None" = None,
    ) -> "tuple[Any, dict[str, object]]":
        """The intensities of one volume, about 0 to 1, and what drawing it took.

        Raises:
            SettingsError: Age or sex is given to a model that is not told either.
        """
        from envoi.errors import Problem, SettingsError
        from envoi.meter import device_name, metered
        from envoi.mri.drawing import drawn_intensities
        from envoi.mri.making import cost_entry

        if self.card.mode != "joint" and (age is not None or sex is not None):
            remedy = "Leave them out, or use a model of mode joint."
            where = f"mode {self.card.mode}"
            raise SettingsError(Problem("no --age and no --sex", "some", where, remedy))
        with metered(self._device) as cost:
            voxels = drawn_intensities(
                self._model,
                age,
                _sex(sex),
                steps=self.steps,
                seed=seed,
                number=number,
                precision=self._precision,
                given=given,
            )
        return voxels, cost_entry(cost, device_name(self._device))

    def write(
        self,
        volume: "Volume",
        path: Path,
        seed: int,
        number: int,
        person: "Mapping[str, object]",
        more: "Mapping[str, object]",
    ) -> None:
        """The file, and the sidecar that marks it as made and says how to make it again."""
        from envoi.data.nifti import write_nifti

        write_nifti(volume, path, {**self._made(seed, number, person), **more})

    def has_drawn(self, path: Path, seed: int, number: int, person: "Mapping[str, object]") -> bool:
        """Whether an earlier call has drawn this very volume.

        Raises:
            StorageError: There is a volume of that name, drawn otherwise.
        """
        import json

        from envoi.data.nifti import sidecar_beside
        from envoi.errors import Problem, StorageError
        from envoi.files import read_text

        if not path.exists():
            return False
        remedy = "Choose another --out, or move the old files away."
        told = json.loads(read_text(sidecar_beside(path), what="a sidecar", remedy=remedy))
        made = json.loads(json.dumps(self._made(seed, number, person)))
        if not made.items() <= told.items():
            found = "those of another model or other settings"
            raise StorageError(Problem("volumes of this very command", found, "--out", remedy))
        return True

    def _made(self, seed: int, number: int, person: "Mapping[str, object]") -> "dict[str, object]":
        """What the sidecar says of a volume's making."""
        from envoi.mri.drawing import sidecar_of

        made = sidecar_of(
            self.card,
            steps=self.steps,
            seed=seed,
            number=number,
            precision=self._precision,
            about=person,
        )
        return {**made, "ModelDigest": self._digest}


def _on_grid(scan: "Volume", card: "ModelCard") -> "Volume":
    from envoi.errors import DataError, Problem

    if not scan.grid.is_like(card.grid):
        expected = f"{card.grid.shape} voxels of {card.grid.spacing_mm} mm"
        found = f"{scan.grid.shape} of {scan.grid.spacing_mm} mm"
        remedy = "Prepare the scan as the model's brains were, by --spacing-mm and --shape."
        raise DataError(Problem(expected, found, "--given", remedy))
    return scan


def _sex(name: str | None) -> "Sex | None":
    return None if name is None else cast("Sex", one_of(("female", "male"), name, "--sex"))


def _plane(name: str) -> "Plane":
    from envoi.mri.slabs import Plane

    return Plane(one_of(("axial", "coronal", "sagittal"), name, "--plane"))
