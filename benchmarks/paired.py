"""One method in two folders of runs, compared run by run: equal data, split and seed.

    python benchmarks/paired.py RUNS OTHER_RUNS --method envoi --out FILE.json

Differences are of `OTHER_RUNS` less `RUNS`, in points; intervals are of Student's t over runs,
which share test images, so they tell of seeds and splits and not of other patients.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from scipy import stats

from envoi.files import write_json

MEASURES = ("accuracy", "balanced_accuracy", "auroc", "agreement")


def main() -> None:
    """Compare all runs that both folders have."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--method", default="envoi")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    pairs = {
        file.parent.name: {
            "before": measured(file, options.method),
            "after": measured(options.other / file.parent.name / "result.json", options.method),
        }
        for file in sorted(options.runs.glob("*/result.json"))
        if (options.other / file.parent.name / "result.json").exists()
    }
    names = sorted({name.split("_")[0] for name in pairs})
    differences = {
        data: {
            measure: difference(
                [
                    100 * (pair["after"][measure] - pair["before"][measure])
                    for name, pair in pairs.items()
                    if name.startswith(f"{data}_")
                ]
            )
            for measure in MEASURES
        }
        for data in names
    }
    write_json(options.out, {"method": options.method, "differences": differences, "runs": pairs})
    print(json.dumps(differences, indent=1))


def measured(file: Path, method: str) -> dict[str, float]:
    """What a run's file says of the method."""
    row: dict[str, Any] = json.loads(file.read_text())["methods"][method]
    found = {name: row["metrics"][name]["value"] for name in MEASURES[:-1]}
    agreement = row["distillation"]["agreement"]["value"]
    return {name: round(value, 4) for name, value in {**found, "agreement": agreement}.items()}


def difference(values: list[float]) -> dict[str, float]:
    """Mean and interval."""
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1) if len(values) > 1 else np.nan
    mean = fmean(values)
    return {
        "runs": len(values),
        "mean": round(mean, 2),
        "low": round(mean - half, 2),
        "high": round(mean + half, 2),
    }


if __name__ == "__main__":
    main()
