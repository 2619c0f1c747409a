"""From the words of `envoi bench run` to its runs."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import typer

from envoi.cli.device import device_called
from envoi.cli.images import Permissions, read_data_set
from envoi.cli.progress import following
from envoi.data import load_medmnist, phantom_federation
from envoi.errors import EnvoiError, Problem, SettingsError
from envoi.files import read_text
from envoi.networks import architecture
from envoi.report import write_report
from envoi.results import RunFolder
from envoi.server.methods import method_called
from envoi.server.rows import tentative
from envoi.settings import Budget, Preset, TrainingSettings, resolved
from envoi.simulation.bench import claimed, run_bench
from envoi.simulation.federation import FederationSettings, backbone_digest
from envoi.simulation.multi_round import (
    MultiRound,
    check_one_architecture,
    multi_round_called,
)
from envoi.simulation.partition import parse_partition
from envoi.study.contract import WeightFormat
from envoi.types import DataSet, ImageSpec

PHANTOM = "phantom"
_WEIGHT_FORMATS = ("fp32", "fp16", "int8")
# A small network on a CPU wants fewer, larger steps than the paper's 100 epochs at 1e-3.
TRAINING = TrainingSettings(epochs=12, batch_size=32, rate=0.05, schedule="one-cycle", augment=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked for, as it was typed."""

    data: str
    out: Path
    partitions: tuple[str, ...]
    sites: int
    networks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[str, ...]
    budget: str
    settings: Path | None
    epochs: int | None
    weight_format: str
    backbone: Path | None
    size: int | None
    channels: int
    permissions: Permissions
    threads: int | None
    device: str

    @property
    def name(self) -> str:
        """Of the data set; it tells size, channels and fit, which decide what a picture becomes."""
        stem = Path(self.data).stem
        if self.size is None:
            return stem
        fit = "" if self.permissions.fit == "exact" else f"-{self.permissions.fit}"
        return f"{stem}-{self.channels}x{self.size}{fit}"


def run_all(plan: Plan, *, dry_run: bool) -> None:
    """Run each combination of seed and partition that has no result yet.

    Raises:
        EnvoiError: Anything asked for is unknown, said before the first run starts; or runs or
            methods of them failed, said after the last run.
    """
    methods = {name: multi_round_called(name) or method_called(name) for name in plan.methods}
    for network in plan.networks:
        architecture(network)
    in_rounds = [name for name, method in methods.items() if isinstance(method, MultiRound)]
    check_one_architecture(plan.networks, in_rounds)
    if plan.backbone is not None:
        backbone_digest(plan.backbone)
    device = device_called(plan.device)
    tables = _tables(plan.settings)
    runs = list(_runs(plan, tables["training"]))
    data = _data_set(plan)
    preset = Budget.preset(cast("Preset", plan.budget), size_px=data.train.images.shape[-1])
    budget = resolved(preset, tables["budget"], where="[budget]")
    if plan.threads is not None:
        import torch

        torch.set_num_threads(plan.threads)
    failed: list[EnvoiError] = []
    for name, settings in runs:
        folder = plan.out / name
        if dry_run:  # what the data are was checked all the same
            typer.echo(f"{name}: {settings}")
            continue
        run = RunFolder(folder)
        if run.is_claimed and _is_finished(claimed(folder, data, settings, budget), plan.methods):
            typer.echo(f"{name}: finished before")
            continue
        typer.echo(f"{name}: running")
        try:
            with tentative(run), following() as on_step:
                run_bench(
                    data,
                    settings,
                    methods,
                    folder,
                    budget=budget,
                    on_step=on_step,
                    shared=plan.out / "pooled",
                    device=device,
                )
        except EnvoiError as err:
            told = (replace(one, where=f"{name}, {one.where}") for one in err.problems)
            failed.append(type(err)(*told))
        if (folder / "result.json").exists():
            typer.echo(f"report: {write_report(run)}")
    if failed:
        raise type(failed[0])(*(problem for err in failed for problem in err.problems))


def _runs(plan: Plan, training: dict[str, Any]) -> Iterator[tuple[str, FederationSettings]]:
    flags = {} if plan.epochs is None else {"epochs": plan.epochs}
    resolved_training = resolved(TRAINING, training, flags, where="[training]")
    if plan.weight_format not in _WEIGHT_FORMATS:
        raise _unknown(" or ".join(_WEIGHT_FORMATS), plan.weight_format, "--weight-format")
    for seed in plan.seeds:
        if not seed.isdecimal():
            raise _unknown("whole numbers with commas", seed, "--seeds")
        for partition in plan.partitions:
            scheme = parse_partition(partition)
            network = "+".join(plan.networks)
            if plan.backbone is not None:
                network += f"-{plan.backbone.stem}"
            name = f"{plan.name}_{scheme}_{plan.sites}_{network}_{seed}"
            settings = FederationSettings(
                partition=scheme,
                sites=plan.sites,
                networks=plan.networks,
                training=resolved_training,
                weight_format=cast("WeightFormat", plan.weight_format),
                backbone=plan.backbone,
                seed=int(seed),
            )
            yield name, settings


def _is_finished(run: RunFolder, methods: tuple[str, ...]) -> bool:
    if not (run.path / "result.json").exists():
        return False
    return set(methods) <= run.result().methods.keys()


def _data_set(plan: Plan) -> DataSet:
    path = Path(plan.data)
    has_pictures = path.suffix == ".csv" or path.is_dir()
    if plan.channels not in {1, 3}:
        raise _unknown("1 or 3", f"{plan.channels}", "--channels")
    if has_pictures != (plan.size is not None):
        expected = "a size in pixels for the pictures of a table or folder, and only for these"
        raise _unknown(expected, f"{plan.size or 'none'}", "--size")
    if plan.data == PHANTOM:
        return phantom_federation(sites=plan.sites)
    if plan.size is None:
        return load_medmnist(path)
    spec = ImageSpec.of(plan.channels, plan.size)
    return replace(read_data_set(path, spec, plan.permissions), name=plan.name)


def _tables(file: Path | None) -> dict[str, dict[str, Any]]:
    if file is None:
        return {"training": {}, "budget": {}}
    text = read_text(file, what="a settings file", remedy="Name a TOML file.")
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise SettingsError(
            Problem("a TOML file", str(err), file.name, "Correct the file.")
        ) from err
    for key in content.keys() - {"training", "budget"}:
        raise _unknown("the tables [training] and [budget]", key, file.name)
    return {"training": {}, "budget": {}, **content}


def _unknown(expected: str, found: str, where: str) -> SettingsError:
    return SettingsError(Problem(expected, repr(found)[:80], where, "Correct it."))
