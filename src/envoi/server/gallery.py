"""Pictures of the synthesis for people: how images come about, one row for each moment or stage."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from envoi.files import writing
from envoi.progress import OnStep, ignore_step
from envoi.results import Picture, StepInfo
from envoi.seeding import torch_generator
from envoi.server.bank import Staged
from envoi.server.synthesis.inversion import Inversion
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.transforms import denormalise

MOMENTS = (0.0, 0.1, 0.25, 0.5, 1.0)
_COPIES = 2
_LEAST_PX = 56


def write_gallery(
    folder: Path,
    teachers: Teachers,
    budget: Budget,
    *,
    seed: int = 0,
    on_step: OnStep = ignore_step,
) -> tuple[Picture, ...]:
    """Synthesise one more batch and keep its first images at five moments, as PNG.

    Each picture is one row: every class, twice. The batch is the budget's, so what is seen is
    what the student learned from (images of one batch share its statistics).

    Args:
        folder: Where the pictures appear; existing ones are kept and not made again.
        teachers: The sites' networks.
        budget: Of the synthesis.
        seed: Of the noise.
        on_step: Told about each step of the synthesis.
    """
    if not existing_gallery(folder, budget):
        _synthesise(_files(folder, budget), teachers, budget, seed, on_step)
    return existing_gallery(folder, budget)


def write_stages(
    folder: Path, name: str, source: Staged, teachers: Teachers, *, seed: int = 0
) -> tuple[Picture, ...]:
    """Images that are drawn and not inverted, one picture for each stage of their making.

    Args:
        folder: Where the pictures appear.
        name: Of the method, for files and captions.
        source: Draws the images.
        teachers: Tell what images look like.
        seed: Of the draws.
    """
    shown = _COPIES * len(teachers.class_names)
    pictures = []
    stages = source.stages(shown, torch_generator(seed, "gallery", name))
    for number, (made, images) in enumerate(stages, start=1):
        caption = f"{made}: what the student learns from" if number == len(stages) else made
        file = folder / f"{name}-{number}.png"
        _write_row(file, denormalise(images, teachers.image).numpy())
        pictures.append(Picture(f"{folder.name}/{file.name}", f"{name}: {caption}"))
    return tuple(pictures)


def existing_gallery(folder: Path, budget: Budget) -> tuple[Picture, ...]:
    """The pictures of a gallery that is finished; none of any other."""
    files = _files(folder, budget)
    if not all(file.exists() for file in files.values()):
        return ()
    return tuple(
        Picture(f"{folder.name}/{file.name}", f"inversion, step {step} of {budget.synthesis_steps}")
        for step, file in files.items()
    )


def _files(folder: Path, budget: Budget) -> dict[int, Path]:
    """The picture of each step that is shown."""
    steps = sorted({round(moment * budget.synthesis_steps) for moment in MOMENTS})
    return {step: folder / f"step-{step:04d}.png" for step in steps}


def _synthesise(
    files: Mapping[int, Path], teachers: Teachers, budget: Budget, seed: int, on_step: OnStep
) -> None:
    shown = _COPIES * len(teachers.class_names)
    inversion = Inversion(teachers, budget, torch_generator(seed, "gallery"))
    images = inversion.whole_images()
    for step in range(budget.synthesis_steps + 1):
        if step:
            images, terms = inversion.advance()
            losses = {name: float(term) for name, term in terms.items()}
            on_step(StepInfo("gallery", step, budget.synthesis_steps, losses))
        if step in files:
            _write_row(files[step], denormalise(images[:shown], teachers.image).numpy())


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
