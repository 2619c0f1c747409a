"""The demonstration: five phantom hospitals, one file each, one student, one report."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from envoi.data import phantom_federation
from envoi.files import write_json
from envoi.progress import OnStep, ignore_step
from envoi.results import MethodResult, StudyResult
from envoi.server.methods import method_called
from envoi.settings import Budget, TrainingSettings
from envoi.simulation.bench import run_bench
from envoi.simulation.federation import FederationSettings
from envoi.simulation.partition import Natural
from envoi.simulation.table import local_best

DEMO_METHODS = (
    "fedavg",
    "ensemble_mean_logits",
    "ensemble_mean_probabilities",
    "ensemble_size",
    "ensemble_class_count",
    "ensemble_consensus",
    "closed_form",
    "fedisca",
    "envoi",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """How large the demonstration is; the defaults end in minutes on two cores."""

    sites: int = 5
    images_per_site: int = 500
    test_images: int = 800
    epochs: int = 24
    seed: int = 0
    budget: Budget = field(default_factory=lambda: Budget.preset("smoke"))


def run_demo(
    folder: Path,
    settings: DemoSettings | None = None,
    *,
    on_step: OnStep = ignore_step,
    device: torch.device | None = None,
) -> StudyResult:
    """Run the demonstration in `folder`, and leave summary.json beside result.json.

    Args:
        folder: Of the run; an interrupted one goes on where it was.
        settings: None is the defaults.
        on_step: Told about each step of every training.
        device: Where to compute; None is the first GPU, or else the CPU.
    """
    settings = settings or DemoSettings()
    data = phantom_federation(
        sites=settings.sites,
        images_per_site=settings.images_per_site,
        test_images=settings.test_images,
        seed=settings.seed,
    )
    federation = FederationSettings(
        partition=Natural(),
        sites=settings.sites,
        networks=("convnet-small",),
        training=TrainingSettings(
            epochs=settings.epochs, batch_size=32, rate=0.05, schedule="one-cycle", augment=True
        ),
        seed=settings.seed,
    )
    methods = {name: method_called(name) for name in DEMO_METHODS}
    result = run_bench(
        data, federation, methods, folder, budget=settings.budget, on_step=on_step, device=device
    )
    write_json(folder / "summary.json", summary(result))
    return result


def summary(result: StudyResult) -> dict[str, dict[str, Any]]:
    """The main figures of a run by method, for programs; `study` holds those of the run."""
    rows = {name: row for name, row in result.methods.items() if not name.startswith("local/")}
    return {
        **{name: _figures(row) for name, row in rows.items()},
        "local_best": _figures(local_best(result)),
        "study": {
            "wall_seconds": round(result.wall_seconds, 1),
            "sites": len(result.sites),
            "device": result.environment.get("device", "unknown"),
            "seed": result.seed,
        },
    }


def verdict(result: StudyResult) -> list[str]:
    """The run in a few lines for the terminal: accuracy of each classifier, the bytes moved."""
    figures = summary(result)
    names = ("pooled", "local_best", "fedavg", "ensemble_mean_logits", "fedisca", "envoi")
    lines = [
        f"{name:<22} accuracy {figures[name]['accuracy']:.3f}"
        f"  balanced {figures[name]['balanced_accuracy']:.3f}"
        for name in names
    ]
    megabytes = sum(site.bytes_sent for site in result.sites) / 1e6
    seconds = figures["study"]["wall_seconds"]
    lines.append(
        f"{len(result.sites)} hospitals sent one file each, {megabytes:.1f} MB in all; "
        f"the study took {seconds:.0f} s."
    )
    return lines


def _figures(row: MethodResult) -> dict[str, float | int | None]:
    metrics = row.metrics
    return {
        "accuracy": None if metrics is None else metrics.accuracy.value,
        "balanced_accuracy": None if metrics is None else metrics.balanced_accuracy.value,
        "auroc": None if metrics is None else metrics.auroc.value,
        "ece": None if metrics is None else metrics.ece.value,
        "server_seconds": row.server_seconds,
        "bytes_per_site": row.bytes_per_site,
        "peak_bytes": row.peak_bytes,
    }
