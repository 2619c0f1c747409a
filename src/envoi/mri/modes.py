"""Models of volumes by the names of their modes, and the file that keeps a trained one.

A model's file is safetensors; its metadata has one key, `model`: a `ModelCard` as canonical JSON.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from envoi.errors import Problem, SettingsError, StorageError
from envoi.files import digest_of_parts
from envoi.mri.diffusion import TIMES
from envoi.mri.joint import JointModel
from envoi.mri.joint_plan import JointPlan
from envoi.mri.model import VolumeModel
from envoi.mri.paper import PaperModel, PaperPlan
from envoi.mri.whole import WholeModel, WholePlan
from envoi.networks.carded import card_text, write_carded
from envoi.results import RunFolder
from envoi.settings import problems_of
from envoi.volumes import Grid, Sex

Mode = Literal["joint", "paper", "full3d", "wavelet3d"]
Plan = JointPlan | PaperPlan | WholePlan
_PLANS: dict[str, type[JointPlan] | type[PaperPlan] | type[WholePlan]] = {
    "joint": JointPlan,
    "paper": PaperPlan,
    "full3d": WholePlan,
    "wavelet3d": WholePlan,
}
# Steps of the solver, where nobody says how many; the paper visits all of its times.
_STEPS, _STEPS_OF_PAPER = 20, TIMES
_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a trained model is.

    Attributes:
        mode: Its kind.
        plan: Its shape, as plain values.
        grid: Of the volumes that it draws.
        subjects: How many it learned from.
        steps: Of its training.
        faintest: Intensity, smoothed, below which what it draws is background; None where it draws
            outlines itself.
        ages_years: Youngest and oldest that it learnt from, rounded outwards; empty where no age
            was known.
        sexes: Of those it learnt from, where they were known.
        weights: Digest of the model's tensors (`weights_digest`).
    """

    mode: Mode
    plan: dict[str, Any]
    grid: Grid
    subjects: int
    steps: int
    faintest: float | None
    ages_years: tuple[float, ...]
    sexes: tuple[Sex, ...]
    weights: str


def usual_steps(mode: str) -> int:
    """Steps of the solver that a mode's volumes are drawn in, where nobody says how many."""
    return _STEPS_OF_PAPER if mode == "paper" else _STEPS


def plan_of(mode: str, shape: tuple[int, int, int], changes: Mapping[str, Any]) -> Plan:
    """The plan of a mode for volumes of a shape, with changes laid over its defaults.

    Raises:
        SettingsError: There is no such mode, or a change does not fit it.
    """
    if mode not in _PLANS:
        raise SettingsError(
            Problem(f"one of {', '.join(_PLANS)}", repr(mode)[:80], "mode", "Choose a known mode.")
        )
    kind = _PLANS[mode]
    known = [field.name for field in fields(kind)]
    fixed = {"shape": shape, **({"wavelets": mode == "wavelet3d"} if kind is WholePlan else {})}
    if unknown := [key for key in changes if key not in known]:
        remedy = f"Choose among {', '.join(known)}."
        raise SettingsError(Problem("known settings", ", ".join(unknown), f"mode {mode}", remedy))
    try:
        plan: Plan = TypeAdapter(kind).validate_python({**changes, **fixed})
    except ValidationError as err:
        raise SettingsError(*problems_of(err, where=f"mode {mode}", known=known)) from err
    return plan


def model_of(plan: Plan, *, checkpointed: bool = False, slabs_at_once: int = 1) -> VolumeModel:
    """A fresh model with that plan; PyTorch's global generator initialises it."""
    if isinstance(plan, JointPlan):
        return JointModel(plan, checkpointed=checkpointed, slabs_at_once=slabs_at_once)
    return PaperModel(plan) if isinstance(plan, PaperPlan) else WholeModel(plan)


def write_model(path: Path, model: VolumeModel, card: ModelCard) -> None:
    """Write a model's file; equal models give equal bytes.

    Raises:
        StorageError: The file cannot be written.
    """
    write_carded(path, model, key="model", card=card)


def weights_digest(model: VolumeModel) -> str:
    """SHA-256 of a model's tensors and their names, in the order of these."""
    tensors = sorted(model.state_dict().items())
    return digest_of_parts(
        part
        for name, tensor in tensors
        for part in (name.encode(), tensor.detach().cpu().contiguous().numpy().tobytes())
    )


def model_file(run: Path) -> Path:
    """The file of a run's model; a path to the file itself stays as it is."""
    return run if run.name == _FILE and not run.is_dir() else run / _FILE


def read_card(path: Path) -> ModelCard:
    """What the model of a file is.

    Raises:
        StorageError: The file cannot be read, or holds no model.
    """
    try:
        return TypeAdapter(ModelCard).validate_json(card_text(path, key="model"))
    except (SafetensorError, OSError, ValidationError) as err:
        raise _no_model(path, err) from err


def read_model(path: Path, *, slabs_at_once: int = 1) -> VolumeModel:
    """The model of a file, in evaluation mode on the CPU.

    Raises:
        StorageError: The file cannot be read, holds no model, or is damaged.
    """
    card = read_card(path)
    try:
        plan = plan_of(card.mode, card.grid.shape, card.plan)
        model = model_of(plan, slabs_at_once=slabs_at_once)
        with safe_open(path, framework="pt") as file:
            model.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, SettingsError, RuntimeError, ValueError) as err:
        raise _no_model(path, err) from err
    if card.weights != weights_digest(model):
        raise _no_model(path, SafetensorError())
    return model.eval()


def _no_model(path: Path, err: Exception) -> StorageError:
    """Why there is no model, by what stands in its place."""
    folder = path.absolute().parent
    if path.is_file() and not os.access(path, os.R_OK):
        found, remedy = f"a {path.name} without permission to read", "Change its permissions."
    elif path.is_file():
        damaged = isinstance(err, SafetensorError)
        found = f"a damaged {path.name}" if damaged else f"a {path.name} of another kind or version"
        remedy = "Restore the file, or train again in another folder."
    elif not folder.is_dir():
        found, remedy = "no such folder", "Check the path: `envoi mri train` makes the folder."
    elif _is_unfinished(folder):
        found = "a training that is not finished"
        remedy = "Run the same `envoi mri train` command again; it goes on where it stopped."
    else:
        found, remedy = f"no {path.name}", "Name a folder that `envoi mri train` wrote."
    return StorageError(Problem("a trained model", found, folder.name, remedy))


def _is_unfinished(folder: Path) -> bool:
    """Whether a training of this room was started in a folder."""
    try:
        return "subjects" in RunFolder(folder).settings()
    except StorageError:
        return False
