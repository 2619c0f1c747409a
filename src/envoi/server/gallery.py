"""Pictures of the synthesis for people: from noise to realistic, in one row per moment."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from envoi.files import writing
from envoi.results import Picture
from envoi.seeding import torch_generator
from envoi.server.synthesis.inversion import Inversion
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.transforms import denormalise

MOMENTS = (0.0, 0.1, 0.25, 0.5, 1.0)
_COPIES = 2
_LEAST_PX = 56


def write_gallery(
    folder: Path, teachers: Teachers, budget: Budget, *, seed: int = 0
) -> tuple[Picture, ...]:
    """Synthesise one more batch and keep its first images at five moments, as PNG.

    Each picture is one row: every class, twice. The batch is the budget's, so what is seen is
    what the student learned from (images of one batch share its statistics).

    Args:
        folder: Where the pictures appear; existing ones are kept and not made again.
        teachers: The sites' networks.
        budget: Of the synthesis.
        seed: Of the noise.
    """
    steps = budget.synthesis_steps
    wanted = {round(moment * steps): moment for moment in MOMENTS}
    pictures = {step: folder / f"step-{step:04d}.png" for step in wanted}
    if not all(file.exists() for file in pictures.values()):
        shown = _COPIES * len(teachers.class_names)
        inversion = Inversion(teachers, budget, torch_generator(seed, "gallery"))
        for step in range(steps + 1):
            images = inversion.images if step == 0 else inversion.advance()[0]
            if step in pictures:
                _write_row(pictures[step], denormalise(images[:shown], teachers.image).numpy())
    return tuple(
        Picture(f"{folder.name}/{file.name}", f"step {step} of {steps}")
        for step, file in pictures.items()
    )


def _write_row(file: Path, pixels: NDArray[np.uint8]) -> None:
    """Images side by side, two pixels apart on white, enlarged without smoothing."""
    padded = np.pad(pixels, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=255)
    row = np.concatenate(list(padded), axis=2).transpose(1, 2, 0)
    picture = Image.fromarray(row[..., 0] if row.shape[2] == 1 else row)
    scale = max(1, _LEAST_PX // pixels.shape[-1])
    enlarged = picture.resize(
        (picture.width * scale, picture.height * scale), Image.Resampling.NEAREST
    )
    with writing(file) as target:
        enlarged.save(target, format="PNG")
