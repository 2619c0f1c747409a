"""Slices of the first volumes that `mri_models.py` drew of each model, as one small picture.

    python benchmarks/mri_pictures.py BRAINS --work runs/mri --out benchmarks/results/mri/drawn.png

A row for each model that is there (joint, paper, full3d, wavelet3d): axial, coronal and sagittal
middles of four volumes.
"""

import argparse
from pathlib import Path

import numpy as np
from mri_models import CASES, drawn_in, subjects_of
from PIL import Image

from envoi.report.volumes.atlas import Sheet, middles, sheet
from envoi.volumes import Grid

_SHOWN, _ENLARGED = 4, 2


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("brains", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    training, _ = subjects_of(options.brains, options.seed)
    folders = [options.work / mode for mode in CASES if _has(options.work / mode)]
    drawn = sheet([_row(folder, training[0].volume.grid) for folder in folders])
    enlarged = np.kron(drawn, np.ones((_ENLARGED, _ENLARGED), np.uint8))
    Image.fromarray(enlarged).save(options.out, optimize=True)


def _has(folder: Path) -> bool:
    return (folder / f"volume-{_SHOWN:04d}.npy").exists()


def _row(folder: Path, grid: Grid) -> list[Sheet]:
    """The three middle sections of each volume."""
    drawn = drawn_in(folder, grid)[:_SHOWN]
    return [section for volume in drawn for section in middles(volume, grid)]


if __name__ == "__main__":
    main()
