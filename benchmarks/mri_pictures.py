"""Slices of the first volumes that `mri_models.py` drew of each model, as one small picture.

    python benchmarks/mri_pictures.py --work runs/mri --out benchmarks/results/mri/drawn.png

A row for each model that is there (joint, paper, full3d, wavelet3d): axial, coronal and sagittal
middles of four volumes.
"""

import argparse
from pathlib import Path

import numpy as np
from mri_models import CASES, SHAPE, SPACING_MM
from PIL import Image

from envoi.report.volumes.atlas import Sheet, middles, sheet
from envoi.volumes import Grid

_SHOWN, _ENLARGED = 4, 2


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    grid = Grid(SHAPE, (SPACING_MM,) * 3)
    drawn = sheet([_row(options.work / mode, grid) for mode in CASES if _has(options.work / mode)])
    enlarged = np.kron(drawn, np.ones((_ENLARGED, _ENLARGED), np.uint8))
    Image.fromarray(enlarged).save(options.out, optimize=True)


def _has(folder: Path) -> bool:
    return (folder / f"volume-{_SHOWN:04d}.npy").exists()


def _row(folder: Path, grid: Grid) -> list[Sheet]:
    """The three middle sections of each volume."""
    volumes = (np.load(folder / f"volume-{number:04d}.npy") for number in range(1, _SHOWN + 1))
    return [section for volume in volumes for section in middles(volume, grid)]


if __name__ == "__main__":
    main()
