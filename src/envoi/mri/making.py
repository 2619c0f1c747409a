"""What volumes cost to make: in figures for a sidecar, in words for the page that judges them."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from envoi.meter import Cost
from envoi.mri.fitting import GIB
from envoi.mri.memory import Use, parameters_of, predicted_bytes, predicted_flop
from envoi.mri.modes import model_file, plan_of, read_card

_LONGEST = 80  # characters of a text out of a file


def cost_entry(cost: Cost, device: str) -> dict[str, object]:
    """What a sidecar says of the drawing of its volume.

    Args:
        cost: As it was metered.
        device: As `envoi.meter.device_name` calls it.
    """
    seconds = round(cost.wall_seconds, 2)
    return {"Seconds": seconds, "PeakMemoryBytes": cost.peak_bytes, "Device": device}


def words_of_run(run: Path, steps: int) -> dict[str, str]:
    """Of a run's model and what drawing in so many steps takes, as predicted.

    Of a field of view as large as the volume: a learned one is smaller and takes less.
    """
    card = read_card(model_file(run))
    plan = plan_of(card.mode, card.grid.shape, card.plan)
    gib = predicted_bytes(plan, Use("sample")) / GIB
    return {
        "Parameters": f"{parameters_of(plan) / 1e6:.2f} million",
        "Arithmetic of one volume": f"about {predicted_flop(plan, steps) / 1e12:.3g} TFLOP",
        "Tensors while drawing": f"about {gib:.2f} GiB in fp32",
    }


def sidecars(folder: Path) -> list[Mapping[str, Any]]:
    """Of all volumes of a folder; files that nobody can read are left out."""
    told = []
    for file in sorted(folder.glob("*.json")):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, Mapping):
            told.append(found)
    return told


def words_of_drawing(told: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """How volumes were drawn, by their sidecars; nothing where the first is of another maker."""
    try:
        model, settings = told[0]["Model"], told[0]["Settings"]
        words = {"Drawn by": model, "Steps of drawing": settings["Steps"]}
        if "Precision" in settings:
            words["Precision"] = settings["Precision"]
    except (IndexError, KeyError, TypeError):
        return {}
    return {name: str(word)[:_LONGEST] for name, word in words.items()} | _words_of_cost(told)


def _words_of_cost(told: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Median time and largest memory; nothing unless all are of one model, way and device."""
    try:
        made = {json.dumps([one["Model"], one["Settings"]["Steps"]]) for one in told}
        devices = {str(one["Cost"]["Device"]) for one in told}
        seconds = [float(one["Cost"]["Seconds"]) for one in told]
        peaks = [float(one["Cost"]["PeakMemoryBytes"]) for one in told]
    except (KeyError, TypeError, ValueError):
        return {}
    sound = all(math.isfinite(value) and value >= 0 for value in (*seconds, *peaks))
    if len(made) != 1 or len(devices) != 1 or not sound:
        return {}
    return {
        "Drawing one took": f"{median(seconds):.3g} s (median of {len(seconds)})",
        "Largest memory while drawing": f"{max(peaks) / GIB:.2f} GiB, libraries included on a CPU",
        "Device": devices.pop()[:_LONGEST],
    }
