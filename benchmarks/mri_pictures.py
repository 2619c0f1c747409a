"""Slices of the first volumes that `mri_models.py` drew of each model, as one small picture.

    python benchmarks/mri_pictures.py --work runs/mri --out benchmarks/results/mri/drawn.png

A row for each model (joint, paper, full3d, wavelet3d); axial, coronal and sagittal middles of four.
"""

import argparse
from pathlib import Path

import numpy as np
from mri_models import CASES
from PIL import Image

_SHOWN, _ENLARGED = 4, 2


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = [_row(options.work / mode) for mode in CASES]
    pixels = np.round(255 * np.concatenate(rows)).astype(np.uint8)
    picture = Image.fromarray(pixels)
    size = (_ENLARGED * picture.width, _ENLARGED * picture.height)
    picture.resize(size, Image.Resampling.NEAREST).save(options.out, optimize=True)


def _row(folder: Path) -> np.ndarray:
    """Three planes of each volume side by side, front and head up."""
    slices = []
    for number in range(1, _SHOWN + 1):
        volume = np.load(folder / f"volume-{number:04d}.npy")
        depth, height, width = (size // 2 for size in volume.shape)
        planes = (volume[depth], volume[:, height], volume[:, :, width - 2])
        slices += [np.pad(plane[::-1], ((0, 56 - len(plane)), (0, 2))) for plane in planes]
    return np.concatenate(slices, axis=1)


if __name__ == "__main__":
    main()
