"""Options that several of the `envoi mri` commands share, and what their words mean."""

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from envoi.mri.fitting import Fit
    from envoi.mri.modes import Plan
    from envoi.settings import Precision
    from envoi.volumes import Sex

GIB, MIB = 2**30, 2**20

ModeOption = Annotated[str, typer.Option(help="joint, paper, full3d or wavelet3d.")]
MemoryOption = Annotated[
    float | None,
    typer.Option(
        "--memory-gib",
        min=0.01,
        metavar="N",
        help="Tensors within this much memory, on CPUs with the volumes that are learnt from; "
        "libraries come on top.",
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        help="auto (bf16 on GPUs that are fast at it, or where else nothing fits), fp32, bf16."
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Equal seeds give equal results.")]


def fitted_to(
    plan: "Plan",
    phase: str,
    gib: float,
    precision: str,
    device: str,
    *,
    people: int = 0,
) -> "Fit":
    """The way to use a model that `--memory-gib` leaves.

    Volumes of people that are learnt from stay in the CPU's memory, so that they count there alone.

    Raises:
        SettingsError: None fits.
    """
    import torch

    from envoi.mri.fitting import fitted
    from envoi.precision import is_lowered

    asked = precision_called(precision)
    if is_lowered(asked, torch.device(device)):
        choices: tuple[Precision, ...] = ("bf16",)
    else:  # left open where bf16 is slow, it is still better than not to fit
        choices = ("fp32", "bf16") if asked == "auto" else ("fp32",)
    learnt_from = people if device == "cpu" else 0
    return fitted(plan, cast("Any", phase), gib * GIB, choices, people=learnt_from)


def precision_called(name: str) -> "Precision":
    """The precision that `--precision` names.

    Raises:
        SettingsError: There is none of that name.
    """
    return cast("Precision", one_of(("auto", "fp32", "bf16"), name, "--precision"))


def sex_called(name: str) -> "Sex":
    """The sex that `--sex` names, written as in participants.tsv: `female`, `F`.

    Raises:
        SettingsError: It is neither female nor male.
    """
    whole = {"f": "female", "m": "male"}.get(name.lower(), name.lower())
    return cast("Sex", one_of(("female", "male"), whole, "--sex"))


def one_of(known: tuple[str, ...], name: str, where: str) -> str:
    """The name, if it is known.

    Raises:
        SettingsError: It is not.
    """
    from envoi.errors import Problem, SettingsError

    if name not in known:
        expected = f"{', '.join(known[:-1])} or {known[-1]}"
        raise SettingsError(Problem(expected, ascii(name)[:80], where, "Correct it."))
    return name
