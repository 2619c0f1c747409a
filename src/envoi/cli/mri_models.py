"""`envoi mri train` and `envoi mri memory`."""

import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from envoi.cli.device import DeviceOption, device_called
from envoi.cli.mri import (
    CacheOption,
    ReorientOption,
    ShapeOption,
    SkullOption,
    SpacingOption,
    known_words,
    permitted,
    sizes,
)
from envoi.cli.mri_options import (
    GIB,
    MIB,
    MemoryOption,
    ModeOption,
    PrecisionOption,
    SeedOption,
    fitted_to,
    one_of,
    precision_called,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from envoi.mri.modes import Plan
    from envoi.mri.training import MriTraining
    from envoi.volumes import Grid, Subject


TrainStepsOption = Annotated[int, typer.Option("--steps", min=1, help="Training steps.")]
MinutesOption = Annotated[
    float, typer.Option(min=0, help="End after so many minutes, if steps are left; 0: never.")
]
BatchOption = Annotated[int, typer.Option(min=1, help="Slabs, windows or volumes of a step.")]
PartsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Compute a step in so many parts; left out: one for each process."),
]
HeldOutOption = Annotated[
    int, typer.Option(min=0, help="Persons that training never sees, for `evaluate`.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print what would run.")]


def train(
    folder: Annotated[Path, typer.Argument(help="Brains and participants.tsv, as for prepare.")],
    out: Annotated[Path, typer.Option("--out", help="The folder of this run.")],
    mode: ModeOption = "joint",
    steps: TrainStepsOption = 20_000,
    minutes: MinutesOption = 0.0,
    batch: BatchOption = 8,
    parts: PartsOption = None,
    held_out: HeldOutOption = 0,
    memory_gib: MemoryOption = None,
    reorient: ReorientOption = False,
    spacing_mm: SpacingOption = None,
    shape: ShapeOption = None,
    allow_skull: SkullOption = False,
    cache: CacheOption = None,
    seed: SeedOption = 0,
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    dry_run: DryRunOption = False,
) -> None:
    """Train a model of brains; may be interrupted and repeated.

    `torchrun --nproc-per-node N -m envoi mri train ...` shares a step among N processes or GPUs.
    """
    from envoi.data.brains import load_brains
    from envoi.data.held_out import HeldOut, write_held_out
    from envoi.mri.run import check_run_folder
    from envoi.processes import joined
    from envoi.wording import counted

    permissions = permitted(reorient, spacing_mm, shape, allow_skull)
    _check_typed(mode, minutes, precision)
    place = device_called(device)
    check_run_folder(out)
    people = load_brains(folder, permissions, cache=cache)
    split = HeldOut(persons=held_out, seed=seed, permissions=permissions)
    training = split.part(people)[0] if held_out else people
    count = len(people)
    del people  # volumes of persons held out are not kept in memory
    with joined() as processes:
        parts = processes.count if parts is None else parts
        wanted = _Wanted(mode, steps, minutes, batch, parts, seed, precision, memory_gib)
        say = typer.echo if processes.first else _say_nothing
        whom = f"{counted(len(training), 'brain')} of {count} to learn from"
        say(f"{whom}{known_words(training)}; {counted(held_out, 'person')} held out.")
        if processes.first:
            _warn_of_scores(len(training), held_out)
        trained = wanted.train(training, out, place, say, dry_run=dry_run)
        if trained and processes.first:
            write_held_out(out, split)


def _check_typed(mode: str, minutes: float, precision: str) -> None:
    """Refuse before scans are read what would be refused afterwards."""
    import math

    from envoi.errors import Problem, SettingsError
    from envoi.mri.modes import Mode

    one_of(get_args(Mode), mode, "--mode")
    precision_called(precision)
    if not math.isfinite(minutes):
        remedy = "Say how many; 0 sets no limit."
        raise SettingsError(Problem("a finite number", f"{minutes}", "--minutes", remedy))


def _warn_of_scores(training: int, held_out: int) -> None:
    """Say now what `envoi mri evaluate` would only say after the training."""
    from envoi.errors import EnvoiWarning
    from envoi.evaluation.volumes import LEAST_REFERENCE, LEAST_SET

    if held_out < LEAST_SET:
        needed = f"{LEAST_SET} persons held out or more: give --held-out"
    elif training < LEAST_REFERENCE:
        needed = f"{LEAST_REFERENCE} brains learnt from or more"
    else:
        return
    words = f"`envoi mri evaluate --run` will refuse this run; it needs {needed}."
    warnings.warn(words, EnvoiWarning, stacklevel=2)


def _say_nothing(_: str) -> None:
    """What all processes but the first one say."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for, as it was typed."""

    mode: str
    steps: int
    minutes: float
    batch: int
    parts: int
    seed: int
    precision: str
    memory_gib: float | None

    def train(
        self,
        training: "Sequence[Subject]",
        out: Path,
        device: "torch.device",
        say: "Callable[[str], None]",
        *,
        dry_run: bool,
    ) -> bool:
        """Say what would run, and run it unless that is all; whether it ran."""
        from envoi.cli.progress import following
        from envoi.mri.modes import model_file
        from envoi.mri.population import volume_bytes
        from envoi.mri.run import train_in
        from envoi.wording import counted

        grid = training[0].volume.grid
        held = len(training) * volume_bytes(grid.shape)
        plan, settings, checkpointed = self.for_grid(grid, device, len(training))
        for line in _words_of(grid, self.mode, plan, settings, device):
            say(line)
        say(f"The volumes take {held / MIB:,.0f} MiB of the CPU's memory all the while.")
        if dry_run:
            say(_resolved(plan, settings))
            return False
        verb = "Was trained before," if model_file(out).exists() else "Trained"
        with following() as on_step:
            _, card = train_in(
                out,
                training,
                cast("Any", self.mode),
                plan,
                settings,
                checkpointed=checkpointed,
                device=device,
                on_step=on_step,
            )
        say(f"{verb} for {counted(card.steps, 'step')}: {model_file(out)}")
        return True

    def for_grid(
        self, grid: "Grid", device: "torch.device", people: int
    ) -> "tuple[Plan, MriTraining, bool]":
        """Plan, settings and whether maps are computed again, within the memory that was given.

        Args:
            grid: Of the volumes.
            device: Where networks compute.
            people: Whose volumes are learnt from.
        """
        from envoi.mri.modes import plan_of
        from envoi.mri.training import MriTraining

        plan, batch, checkpointed = plan_of(self.mode, grid.shape, {}), self.batch, False
        precision = precision_called(self.precision)
        if self.memory_gib is not None:
            fit = fitted_to(
                plan,
                "train",
                self.memory_gib,
                self.precision,
                device.type,
                people=people,
            )
            # A part of a step is what memory has to hold.
            plan, batch = fit.plan, min(batch, fit.use.batch * self.parts)
            checkpointed, precision = fit.use.checkpointed, fit.use.precision
        settings = MriTraining.of_mode(
            self.mode,
            steps=self.steps,
            batch=batch,
            parts=self.parts,
            seed=self.seed,
            seconds=60 * self.minutes,
            precision=precision,
        )
        return plan, settings, checkpointed


def _words_of(
    grid: "Grid", mode: str, plan: "Plan", settings: "MriTraining", device: "torch.device"
) -> Iterator[str]:
    """What will be trained, and how, in two lines."""
    from envoi.mri.joint_plan import JointPlan
    from envoi.precision import settled
    from envoi.wording import counted

    voxels = " x ".join(str(size) for size in grid.shape)
    spacing = " x ".join(f"{step:g}" for step in grid.spacing_mm)
    slabs = f", slabs of {plan.thickness} slices" if isinstance(plan, JointPlan) else ""
    yield f"Mode {mode}, {voxels} voxels of {spacing} mm{slabs}."
    until = f", or {settings.seconds / 60:g} min" if settings.seconds else ""
    parts = f" in {settings.parts} parts" if settings.parts > 1 else ""
    yield (
        f"At most {counted(settings.steps, 'step')}{until}, batches of {settings.batch}{parts}, "
        f"seed {settings.seed}, precision {settled(settings.precision, device)}, on {device.type}."
    )


def _resolved(plan: "Plan", settings: "MriTraining") -> str:
    """All settings, in the form that run.toml has."""
    import tomlkit

    return tomlkit.dumps({"plan": asdict(plan), "training": asdict(settings)}).rstrip()


def memory(
    size: Annotated[str, typer.Option("--size", help="128, or DEPTHxHEIGHTxWIDTH.")] = "128",
    mode: ModeOption = "joint",
    memory_gib: MemoryOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Predict peak memory (sampling one volume, training with one item a step) and arithmetic."""
    from envoi.data.regrid import MOST_VOXELS
    from envoi.errors import Problem, SettingsError
    from envoi.mri.memory import Use, predicted_bytes, predicted_flop
    from envoi.mri.modes import plan_of, usual_steps
    from envoi.mri.population import volume_bytes

    shape = sizes("x".join([size] * 3) if size.isdecimal() else size, where="--size")
    if prod(shape) > MOST_VOXELS:
        remedy = "Scans of more are not read either: choose a smaller size."
        raise SettingsError(Problem(f"at most {MOST_VOXELS} voxels", size[:80], "--size", remedy))
    plan = plan_of(mode, shape, {})
    for phase in ("sample", "train"):
        if memory_gib is not None:
            fit = fitted_to(plan, phase, memory_gib, precision, "cpu")
            typer.echo(f"{phase}: {fit.bytes / GIB:.3f} GiB with {fit.words}")
        else:
            use = Use(cast("Any", phase), precision=precision_called(precision))
            typer.echo(f"{phase}: {predicted_bytes(plan, use) / GIB:.3f} GiB")
    steps = usual_steps(mode)
    typer.echo(f"arithmetic: {predicted_flop(plan, steps) / 1e12:.3g} TFLOP in {steps} steps")
    each = f"{volume_bytes(shape) / MIB:.3g} MiB for each brain learnt from"
    typer.echo(f"Training keeps volumes in the CPU's memory on top: {each}.")
    typer.echo("Of tensors: libraries and the scratch space of kernels come on top.")
