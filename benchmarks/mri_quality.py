"""Score what `mri_models.py` drew: one row for each model, and one of real against real.

    python benchmarks/mri_quality.py BRAINS --work runs/mri --out benchmarks/results/mri

All sets are compared with the same 60 training volumes, Frechet distances in groups of 12, the
number of held-out volumes. Writes `table.csv` and `scores.json`, in which models without volumes
in `--work` stay as they were. Peaks of memory are predicted ones of tensors (`envoi.mri.memory`).
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

from envoi.evaluation.scores import SetScores
from envoi.evaluation.volumes import EvaluationSettings, prepare_reference
from envoi.files import write_json, write_text
from envoi.mri.memory import Use, predicted_bytes
from envoi.mri.modes import plan_of
from envoi.mri.windows import sampling_borders
from envoi.volumes import stacked

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
    text = StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    for name in ("real", *CASES):
        if name in found:
            table.writerows({"model": name, **costs[name], **row} for row in _rows(found[name]))
            told[name] = asdict(found[name])
        else:
            table.writerows(row for row in before if row["model"] == name)
    write_text(options.out / "table.csv", text.getvalue())
    write_json(options.out / "scores.json", told)


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
            **{f"effect_{name}": effects[name] for name in ("grey", "white", "csf", "ventricles")},
            "copies": scores.copied,
            "samples": scores.volumes,
        }


if __name__ == "__main__":
    main()
