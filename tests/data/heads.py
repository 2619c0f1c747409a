"""Scans made for tests: a lopsided brain in a box, and a head around it."""

import nibabel
import numpy as np


def brain(shape=(24, 28, 20)):
    """Right, anterior, superior; a dense spot near the right front tells the directions apart."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    voxels = np.where(x**2 + y**2 + z**2 < 0.6, 400 + 100 * x + 50 * y + 25 * z, 0)
    voxels[(x - 0.4) ** 2 + (y - 0.3) ** 2 + (z - 0.2) ** 2 < 0.02] = 900
    return voxels.astype(np.float32)


def affine(spacing_mm=6.0, origin_mm=(-60.0, -80.0, -50.0)):
    found = np.diag([spacing_mm] * 3 + [1.0])
    found[:3, 3] = origin_mm
    return found


def save(path, voxels=None, matrix=None, *, sform=2, qform=2, unit="mm", dtype=None, **header):
    """Write a NIfTI file by nibabel itself."""
    voxels = brain() if voxels is None else voxels
    matrix = affine() if matrix is None else matrix
    image = nibabel.Nifti1Image(voxels, matrix, dtype=dtype)
    image.set_sform(matrix, sform)
    image.set_qform(matrix, qform)
    image.header.set_xyzt_units(unit)
    for key, value in header.items():
        image.header[key] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return path


def head(spacing_mm=4.0, *, noise=0.0):
    """A head of 150 x 190 x 170 mm with skin, skull, brain and a neck, in a box of 224 mm."""
    line = np.arange(-110, 112, spacing_mm, dtype=np.float32)
    x, y, z = np.meshgrid(line, line, line, indexing="ij")
    radius = np.sqrt((x / 85) ** 2 + (y / 102) ** 2 + (z / 95) ** 2)
    voxels = np.select([radius < 0.78, radius < 0.85, radius < 1], [500, 40, 700], 0)
    voxels = np.where((np.hypot(x, y + 20) < 55) & (z < -60) & (radius >= 0.85), 450, voxels)
    air = np.abs(np.random.default_rng(0).normal(0, noise, voxels.shape)) if noise else 0
    return (voxels + air).astype(np.float32)
