"""Ellipsoid heads of known volumes, and families of them."""

import numpy as np
from scipy.ndimage import gaussian_filter

SHAPE = (36, 40, 36)
SPACING_MM = (4.0, 4.0, 4.0)
CSF, GREY, WHITE = 0.15, 0.5, 0.85


def ellipsoid(radii, *, shape=SHAPE, centre=(0.0, 0.0, 0.0)):
    """Voxels within an ellipsoid; radii and distance from the middle in voxels."""
    axes = [np.arange(size) - (size - 1) / 2 - off for size, off in zip(shape, centre, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return (z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2 <= 1


def head(*, scale=1.0, ventricle=2.5, noise=0.03, seed=0):
    """Fluid around grey around white matter, and two ventricles in the middle."""
    generator = np.random.default_rng(seed)
    outer = np.array([15.0, 18.0, 15.0]) * scale
    voxels = np.zeros(SHAPE)
    masks = {
        "brain": ellipsoid(outer),
        "inner": ellipsoid(outer - 1.5),
        "white": ellipsoid(outer - 4.5),
        "ventricles": np.zeros(SHAPE, bool),
    }
    for side in (-2.5, 2.5):
        masks["ventricles"] |= ellipsoid((ventricle, ventricle * 1.6, 1.8), centre=(1, 0, side))
    voxels[masks["brain"]] = CSF
    voxels[masks["inner"]] = GREY
    voxels[masks["white"]] = WHITE
    voxels[masks["ventricles"]] = CSF
    # Folds of a person's own: dark lines in the cortex.
    folds = gaussian_filter(generator.normal(size=SHAPE), 1.2)
    cortex = masks["inner"] & ~masks["white"]
    voxels[cortex & (folds > 1.2 * folds.std())] = CSF
    masks["csf"] = voxels == CSF
    masks["grey"] = voxels == GREY
    masks["white"] = voxels == WHITE
    voxels += noise * generator.normal(size=SHAPE)
    voxels = np.where(masks["brain"], voxels.clip(0.01, 1), 0)
    return voxels.astype(np.float32), masks


def heads(count, *, seed=0, grown=1.0):
    """People who differ in size, ventricles and folds."""
    generator = np.random.default_rng(seed)
    return np.stack(
        [
            head(
                scale=grown * generator.uniform(0.9, 1.08),
                ventricle=generator.uniform(1.8, 3.2),
                seed=seed * 1000 + number,
            )[0]
            for number in range(count)
        ]
    )
