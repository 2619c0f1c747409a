"""Score what `mri_models.py` drew: one row for each model, and one of real against real.

    python benchmarks/mri_quality.py BRAINS --work runs/mri --out benchmarks/results/mri

All sets are compared with the same 60 training volumes, Frechet distances in groups of 12, the
number of held-out volumes. Cohen's d of tissue volumes is against held-out people, of row `real`
against those in training. Writes `table.csv` and `scores.json`, in which models without volumes
in `--work` stay as they were, and, with `--controls`, `controls.json`: the same scores of held-out
volumes made wrong on purpose, and what chance alone makes of the jumps and seams of 12 real people
beside 48 others, and how many people in training the thresholds of copies blame, each sought
among the others. `through_plane_ks` is that of the worst axis, beside those between axial, coronal
and sagittal slices; `seam_index` looks at fixed slices, where windows of `paper` meet;
`seam_anywhere` at all (`envoi.evaluation.seams`). `near` counts volumes nearer to somebody in
training than the 5th percentile of people held out, `copies` those of them that are near to one
person alone. Volumes without a brain cannot be scored: they are counted (`empty`), not in
`samples`; of a model with fewer than 12 others there are costs and counts alone. Peaks of memory
are predicted ones of tensors (`envoi.mri.memory`).
"""

import argparse
import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mri_models import CASES, HELD_OUT, SHAPE, SPACING_MM, drawn_in, recall, subjects_of

from envoi.evaluation.anatomy import effect_interval
from envoi.evaluation.arrays import Volumes
from envoi.evaluation.copies import CopySearch, Move, Squares
from envoi.evaluation.scores import AXES, PLANES, SetScores
from envoi.evaluation.seams import real_steps, seam_scores, step_readings
from envoi.evaluation.through_plane import distance_of_counts, jump_counts, seam_index
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
from envoi.volumes import Grid, Voxels, stacked

REGIONS = ("grey", "white", "csf", "ventricles")
_CHANCES = 200
COSTS = ("parameters", "train_seconds", "steps", "train_peak_bytes", "sample_peak_bytes")
COLUMNS = (
    *("model", "size", "device", *COSTS, "sample_seconds", "sample_flop"),
    *("frechet_axial", "frechet_coronal", "frechet_sagittal", "extractor", "ms_ssim", "mmd_rbf"),
    *("through_plane_ks", *(f"through_plane_ks_{plane}" for plane in PLANES)),
    *("seam_index", "seam_anywhere", "effect_grey", "effect_white", "effect_csf"),
    *("effect_ventricles", "copies", "near", "samples", "empty"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What a model drew: volumes that hold a brain, and how many hold none."""

    volumes: list[Voxels]
    empty: int

    @classmethod
    def of(cls, folder: Path, grid: Grid) -> "Drawn":
        """The volumes that `mri_models.py` wrote into a folder."""
        every = drawn_in(folder, grid)
        brains = [volume for volume in every if volume.any()]
        return cls(brains, len(every) - len(brains))

    @property
    def words(self) -> str:
        """For the terminal: empty volumes are never left out in silence."""
        scored = len(self.volumes) >= HELD_OUT
        told = f"{len(self.volumes)} volumes {'scored' if scored else 'are too few to score'}"
        return told + (f", {self.empty} WITHOUT A BRAIN left out" if self.empty else "")


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
    subjects = subjects_of(options.brains, options.seed)
    training, held_out = map(stacked, subjects)
    settings = EvaluationSettings(spacing_mm=(SPACING_MM,) * 3, seed=options.seed)
    reference = prepare_reference(training, held_out, settings)
    real = reference.score("real", held_out, group_volumes=HELD_OUT)
    found, about = score_models(reference, options.work, subjects[0][0].volume.grid)
    found, about = {"real": real, **found}, {"real": {"samples": HELD_OUT, "empty": 0}, **about}
    before, told = _before(options.out)
    for name in about.keys() - found.keys():
        told.pop(name, None)  # of another model's volumes
    told |= {name: {**asdict(one), "empty": about[name]["empty"]} for name, one in found.items()}
    for one in told.values():
        one["effects_on_held_out"] = _effects(one, told["real"], options.seed)
    rows = [row for name in ("real", *CASES) for row in _rows(name, found, about, before, told)]
    text = StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(options.out / "table.csv", text.getvalue())
    write_json(options.out / "scores.json", told)
    if options.controls:
        write_json(options.out / "controls.json", _controls(reference, training, held_out))


def score_models(
    reference: Reference, folder: Path, grid: Grid
) -> tuple[dict[str, SetScores], dict[str, dict[str, Any]]]:
    """Scores of each model that drew enough brains, and costs and counts of each that drew."""
    found, about = {}, {}
    for mode in CASES:
        drawn = Drawn.of(folder / mode, grid)
        if len(drawn.volumes) + drawn.empty < HELD_OUT:
            continue
        about[mode] = _about(mode, folder / mode, drawn)
        if len(drawn.volumes) >= HELD_OUT:
            # Windows of `paper` alone meet at slices that stay.
            borders = sampling_borders(SHAPE[0]) if mode == "paper" else reference.borders
            looked_at = replace(reference, borders=borders)
            found[mode] = looked_at.score(mode, np.stack(drawn.volumes), group_volumes=HELD_OUT)
        print(f"{mode}: {drawn.words}", flush=True)
    return found, about


def _rows(
    name: str,
    found: dict[str, SetScores],
    about: dict[str, dict[str, Any]],
    before: list[dict[str, Any]],
    told: dict[str, Any],
) -> list[dict[str, Any]]:
    """Of one model: new ones, costs and counts alone, or those of an earlier call."""
    if name in found:
        rows = [{"model": name, **about[name], **row} for row in rows_of(found[name])]
    elif name in about:
        return [{"model": name, **about[name]}]
    else:
        rows = [row for row in before if row["model"] == name]
    if name == "real" or name not in told:
        return rows
    effects = {f"effect_{key}": one[0] for key, one in told[name]["effects_on_held_out"].items()}
    return [row | effects for row in rows]


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
    """Scores of each control, and 95 % intervals of what chance does to real people."""
    made = control_sets(training, held_out, reference.borders, reference.settings.seed)
    scored = {
        name: asdict(reference.score(name, volumes, group_volumes=HELD_OUT))
        for name, volumes in made.items()
    }
    draws = numpy_generator(reference.settings.seed, "chance")
    chance = real_against_real(training, reference.borders, draws)
    apart = {one.space: near_one_another(one, training) for one in reference.copies}
    return {
        "real_against_real": chance,
        "draws": _CHANCES,
        "people_among_the_others": apart,
        "controls": scored,
    }


def near_one_another(search: CopySearch, training: Volumes) -> dict[str, int]:
    """How many people in training count as near to, and as copies of, one of the others."""

    def among_others(volumes: Volumes) -> Iterator[tuple[Move, Squares]]:
        for move, squares in search.search(volumes):
            np.fill_diagonal(squares, np.inf)
            yield move, squares

    found = replace(search, search=among_others).find(training)
    return {"people": len(training), "near": found.near, "copies": found.copied}


def real_against_real(
    training: Volumes, borders: tuple[int, ...], draws: np.random.Generator
) -> dict[str, list[float]]:
    """95 % intervals of what 12 people's jumps and seams score beside all others'."""
    counts = {axis: np.stack([jump_counts(one[None], axis) for one in training]) for axis in AXES}
    readings = step_readings(training)
    chance: dict[str, list[float]] = {}
    for _ in range(_CHANCES):
        order = draws.permutation(len(training))
        some, others = order[:HELD_OUT], order[HELD_OUT:]
        by_plane = [
            distance_of_counts(own[some].sum(axis=0), own[others].sum(axis=0))
            for own in counts.values()
        ]
        told = _jumps(by_plane)
        told["seam_index"] = seam_index(training[some], borders)
        told["seam_anywhere"] = seam_scores(readings[some], real_steps(readings[others])).mean()
        for name, value in told.items():
            chance.setdefault(name, []).append(value)
    return {name: np.percentile(values, (2.5, 97.5)).tolist() for name, values in chance.items()}


def _jumps(by_plane: Iterable[float]) -> dict[str, float]:
    """Of the worst axis, and between the slices of each plane."""
    named = dict(zip((f"through_plane_ks_{plane}" for plane in PLANES), by_plane, strict=True))
    return {"through_plane_ks": max(named.values()), **named}


def _before(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and scores of an earlier call."""
    table, scores = folder / "table.csv", folder / "scores.json"
    rows = list(csv.DictReader(table.read_text().splitlines())) if table.exists() else []
    return rows, json.loads(scores.read_text()) if scores.exists() else {}


def _about(mode: str, work: Path, drawn: Drawn) -> dict[str, Any]:
    """What a model cost, and how many of its volumes hold a brain."""
    told, plan = recall(work), plan_of(mode, SHAPE, CASES[mode].changes)
    kept = ("parameters", "train_seconds", "steps", "sample_seconds", "sample_flop")
    return {
        "device": told["environment"]["device"],
        **{name: told[name] for name in kept},
        "train_peak_bytes": predicted_bytes(plan, Use("train", CASES[mode].batch)),
        "sample_peak_bytes": predicted_bytes(plan, Use("sample")),
        "size": "x".join(map(str, SHAPE)),
        "samples": len(drawn.volumes),
        "empty": drawn.empty,
    }


def rows_of(scores: SetScores) -> Iterator[dict[str, Any]]:
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
            **{
                name: round(value, 4)
                for name, value in _jumps(through.jumps[axis] for axis in AXES).items()
            },
            "seam_index": round(through.seams, 4),
            "seam_anywhere": round(through.seams_anywhere, 3),
            **{f"effect_{name}": effects[name] for name in REGIONS},
            "copies": scores.copied,
            "near": scores.near,
        }


if __name__ == "__main__":
    main()
