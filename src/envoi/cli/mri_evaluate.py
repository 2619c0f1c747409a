"""`envoi mri evaluate`: synthetic volumes beside real ones, real against real, and controls."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.mri import (
    CacheOption,
    ReorientOption,
    ShapeOption,
    SkullOption,
    SpacingOption,
    permitted,
)
from envoi.cli.mri_options import SeedOption

if TYPE_CHECKING:
    import numpy as np

    from envoi.evaluation.scores import SetScores
    from envoi.volumes import Grid

_COLUMNS = (
    "set",
    "volumes",
    "MS-SSIM",
    "MMD",
    "Frechet a/c/s",
    "jumps",
    "seams",
    "ventricles",
    "copies",
)


def evaluate(
    real: Annotated[Path, typer.Argument(help="Brains and participants.tsv, as trained on.")],
    synthetic: Annotated[Path, typer.Option("--synthetic", help="A folder of made volumes.")],
    out: Annotated[Path, typer.Option("--out", help="The file of all scores, .json.")],
    held_out: Annotated[
        int, typer.Option(min=2, help="Persons that training did not see, as for `train`.")
    ],
    cache: CacheOption = None,
    reorient: ReorientOption = False,
    spacing_mm: SpacingOption = None,
    shape: ShapeOption = None,
    allow_skull: SkullOption = False,
    seed: SeedOption = 0,
) -> None:
    """Score a folder of made volumes; `held-out` is what a perfect model would score.

    Held-out persons are those of `envoi mri train` with the same --held-out and --seed.
    """
    from dataclasses import asdict

    from envoi.cli.progress import following
    from envoi.data.brains import load_brains, split_subjects
    from envoi.evaluation.volumes import EvaluationSettings, compare_volumes
    from envoi.files import write_json
    from envoi.volumes import stacked

    permissions = permitted(reorient, spacing_mm, shape, allow_skull)
    people = load_brains(real, permissions, cache=cache)
    training, unseen = split_subjects(people, held_out, seed)
    grid = training[0].volume.grid
    made = _made(synthetic, grid)
    settings = EvaluationSettings(spacing_mm=grid.spacing_mm, seed=seed)
    with following() as on_step:
        scores = compare_volumes(
            stacked(training), stacked(unseen), made, settings, on_step=on_step
        )
    write_json(out, asdict(scores))
    for line in _table([_COLUMNS, *(_row(row) for row in scores.rows)]):
        typer.echo(line)
    typer.echo(f"Frechet distances on {scores.synthetic.frechet[0].extractor}; all scores: {out}")


def _made(folder: Path, grid: "Grid") -> "np.ndarray":
    """The voxels of every volume of a folder, on the grid of the real ones."""
    import numpy as np

    from envoi.data.nifti import VolumePermissions, read_nifti
    from envoi.errors import DataError, Problem

    files = sorted(folder.glob("*.nii*"))
    if len(files) < 2:
        remedy = "Draw some with `envoi mri sample`."
        raise DataError(Problem("two volumes at least", f"{len(files)}", "--synthetic", remedy))
    made = VolumePermissions(allow_skull=True)  # a grainy corner is the model's fault, no skull
    volumes = [
        read_nifti(file, made, where=f"--synthetic, file {n}") for n, file in enumerate(files, 1)
    ]
    for number, volume in enumerate(volumes, 1):
        if not volume.grid.is_like(grid):
            remedy = "Evaluate with the brains and the spacing that the model learned from."
            raise DataError(
                Problem(f"{grid}", f"{volume.grid}", f"--synthetic, file {number}", remedy)
            )
    return np.stack([volume.voxels for volume in volumes])


def _row(scores: "SetScores") -> tuple[str, ...]:
    first = scores.frechet[0].extractor
    frechet = [f"{one.distance:.1f}" for one in scores.frechet if one.extractor == first]
    rbf = next(one.squared for one in scores.discrepancies if one.kernel == "rbf")
    ventricles = next(one.effect.value for one in scores.anatomy if one.region == "ventricles")
    return (
        scores.name,
        f"{scores.volumes}",
        f"{scores.similarity.mean:.3f}",
        f"{rbf:.3f}",
        " / ".join(frechet),
        f"{max(scores.through_plane.jumps.values()):.3f}",
        f"{scores.through_plane.seams:.2f}",
        f"{ventricles:+.2f}",
        f"{max(one.copied for one in scores.copies)}",
    )


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines with columns one below the other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
