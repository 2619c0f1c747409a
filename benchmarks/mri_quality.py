"""Score what `mri_models.py` drew: one row for each model, and one of real against real.

    python benchmarks/mri_quality.py BRAINS --work runs/mri --out benchmarks/results/mri

All sets are compared with the same 60 training volumes, Frechet distances in groups of 12, the
number of held-out volumes. Cohen's d of tissue volumes is against held-out people, of row `real`
against those in training. Writes `table.csv` and `scores.json`, in which models without volumes
in `--work` stay as they were, and, with `--controls`, `controls.json`: the same scores of held-out
volumes made wrong on purpose, and what chance alone makes of the jumps and seams of 12 real people
beside 48 others. Peaks of memory are predicted ones of tensors (`envoi.mri.memory`).
"""

import argparse
import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mri_models import CASES, HELD_OUT, SHAPE, SPACING_MM, recall, subjects_of

from envoi.evaluation.anatomy import effect_interval
from envoi.evaluation.arrays import Volumes
from envoi.evaluation.scores import SetScores
from envoi.evaluation.through_plane import jump_distance, seam_index
from envoi.evaluation.volumes import (
    EvaluationSettings,
    Reference,
    control_sets,
    prepare_reference,
)
from envoi.files import write_json, write_text
from envoi.mri.memory import Use, predicted_bytes
from envoi.mri.modes import plan_of
from envoi.mri.windows import sampling_borders
from envoi.seeding import numpy_generator
from envoi.volumes import stacked

REGIONS = ("grey", "white", "csf", "ventricles")
_CHANCES = 200
COSTS = ("parameters", "train_seconds", "steps", "train_peak_bytes", "sample_peak_bytes")
COLUMNS = (
    *("model", "size", "device", *COSTS, "sample_seconds", "sample_flop"),
    *("frechet_axial", "frechet_coronal", "frechet_sagittal", "extractor", "ms_ssim", "mmd_rbf"),
    *("through_plane_ks", "seam_index", "effect_grey", "effect_white", "effect_csf"),
    *("effect_ventricles", "copies", "samples"),
)


def main() -> None:
    """Score every model that has volumes; a row for each extractor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--controls", action="store_true", help="score the controls too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    training, held_out = (stacked(side) for side in subjects_of(options.brains, options.seed))
    settings = EvaluationSettings(spacing_mm=(SPACING_MM,) * 3, seed=options.seed)
    reference = prepare_reference(training, held_out, settings)
    found = {"real": reference.score("real", held_out, group_volumes=HELD_OUT)}
    costs: dict[str, dict[str, Any]] = {"real": {}}
    for mode in CASES:
        files = sorted((options.work / mode).glob("volume-*[0-9].npy"))
        if len(files) < HELD_OUT:
            continue
        volumes = [volume for volume in map(np.load, files) if volume.any()]
        # Windows of `paper` alone meet at slices that stay.
        borders = sampling_borders(SHAPE[0]) if mode == "paper" else reference.borders
        looked_at = replace(reference, borders=borders)
        found[mode] = looked_at.score(mode, np.stack(volumes), group_volumes=HELD_OUT)
        costs[mode] = _costs(mode, options.work / mode)
        print(mode, len(volumes), "volumes scored", flush=True)
    before, told = _before(options.out)
    for name, scores in found.items():
        told[name] = asdict(scores)
        told[name]["effects_on_held_out"] = _effects(told[name], told["real"], options.seed)
    text = StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    for name in ("real", *CASES):
        if name in found:
            rows = [{"model": name, **costs[name], **row} for row in _rows(found[name])]
        else:
            rows = [row for row in before if row["model"] == name]
        if name != "real" and rows:
            told[name]["effects_on_held_out"] = _effects(told[name], told["real"], options.seed)
            effects = told[name]["effects_on_held_out"]
            rows = [
                row | {f"effect_{key}": value[0] for key, value in effects.items()} for row in rows
            ]
        table.writerows(rows)
    write_text(options.out / "table.csv", text.getvalue())
    write_json(options.out / "scores.json", told)
    if options.controls:
        write_json(options.out / "controls.json", _controls(reference, training, held_out))


def _effects(scores: dict[str, Any], held_out: dict[str, Any], seed: int) -> dict[str, list[float]]:
    """Cohen's d of each region against people held out, with the ends of its 95 % interval."""
    found = {}
    for own, real in zip(scores["anatomy"], held_out["anatomy"], strict=True):
        if own["region"] in REGIONS:
            pair = (np.array(one["millilitres"]) for one in (own, real))
            effect = effect_interval(*pair, resamples=1000, seed=seed)
            ends = (effect.value, effect.low, effect.high)
            found[own["region"]] = [round(value, 3) for value in ends]
    return found


def _controls(reference: Reference, training: Volumes, held_out: Volumes) -> dict[str, Any]:
    """Scores of each control, and 95 % intervals of what 12 people score beside 48 others."""
    made = control_sets(training, held_out, reference.borders, reference.settings.seed)
    scored = {
        name: asdict(reference.score(name, volumes, group_volumes=HELD_OUT))
        for name, volumes in made.items()
    }
    draws, jumps, seams = numpy_generator(reference.settings.seed, "chance"), [], []
    for _ in range(_CHANCES):
        order = draws.permutation(len(training))
        some, others = training[order[:HELD_OUT]], training[order[HELD_OUT:]]
        jumps.append(jump_distance(some, others, "depth"))
        seams.append(seam_index(some, reference.borders))
    chance = {"through_plane_ks": jumps, "seam_index": seams}
    intervals = {
        name: np.percentile(values, (2.5, 97.5)).tolist() for name, values in chance.items()
    }
    return {"real_against_real": intervals, "draws": _CHANCES, "controls": scored}


def _before(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and scores of an earlier call."""
    table, scores = folder / "table.csv", folder / "scores.json"
    rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
    return rows, json.loads(scores.read_text()) if scores.exists() else {}


def _costs(mode: str, work: Path) -> dict[str, Any]:
    told, plan = recall(work), plan_of(mode, SHAPE, CASES[mode].changes)
    kept = ("parameters", "train_seconds", "steps", "sample_seconds", "sample_flop")
    return {
        "device": told["environment"]["device"],
        **{name: told[name] for name in kept},
        "train_peak_bytes": predicted_bytes(plan, Use("train", CASES[mode].batch)),
        "sample_peak_bytes": predicted_bytes(plan, Use("sample")),
    }


def _rows(scores: SetScores) -> Iterator[dict[str, Any]]:
    """One for each extractor."""
    through = scores.through_plane
    effects = {one.region: round(one.effect.value, 3) for one in scores.anatomy}
    for extractor in scores.extractors:
        distances = scores.distances(extractor)
        yield {
            "size": "x".join(map(str, SHAPE)),
            **{f"frechet_{plane}": round(distance, 3) for plane, distance in distances.items()},
            "extractor": extractor,
            "ms_ssim": round(scores.similarity.mean, 4),
            "mmd_rbf": round(scores.discrepancy().squared, 5),
            "through_plane_ks": round(through.jumps["depth"], 4),
            "seam_index": round(through.seams, 4),
            **{f"effect_{name}": effects[name] for name in REGIONS},
            "copies": scores.copied,
            "samples": scores.volumes,
        }


if __name__ == "__main__":
    main()
