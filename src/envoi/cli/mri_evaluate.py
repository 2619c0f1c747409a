"""`envoi mri evaluate`: synthetic volumes beside real ones, real against real, and controls."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envoi.cli.guard import nothing_kept
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
    from envoi.data.held_out import HeldOut
    from envoi.data.nifti import VolumePermissions
    from envoi.evaluation.scores import SetScores, VolumeScores
    from envoi.volumes import Subject

_COLUMNS = (
    "set",
    "n",
    "MS-SSIM",
    "MMD",
    "Frechet a/c/s",
    "jumps",
    "seams",
    "vent. d",
    "copies",
)
_SHORT = {"seamed_anywhere": "anywhere"}
_LEGEND = (
    "n: volumes. MS-SSIM: likeness of pairs. MMD, Frechet (axial/coronal/sagittal)\n"
    "and jumps (of the worst axis): away from training brains, 0 at best. seams: at\n"
    "borders (1 is none) / anywhere, in deviations of real people. vent. d:\n"
    "Cohen's d of ventricle volumes. Read synthetic beside held-out; the other rows\n"
    "are wrong on purpose (seamed at borders, or anywhere)."
)
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="The page; by default beside the scores.")
]
RunOption = Annotated[
    Path | None, typer.Option("--run", help="A folder of `train`: tells who was held out.")
]
UnseenOption = Annotated[
    int | None, typer.Option(min=2, help="Without --run: persons that training did not see.")
]
UnmarkedOption = Annotated[
    bool, typer.Option("--allow-unmarked", help="Take volumes that nothing marks as made.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace scores and a page that exist.")
]


@nothing_kept()
def evaluate(
    real: Annotated[Path, typer.Argument(help="Brains and participants.tsv, as trained on.")],
    synthetic: Annotated[Path, typer.Option("--synthetic", help="A folder of made volumes.")],
    out: Annotated[Path, typer.Option("--out", help="The file of all scores, .json.")],
    report: ReportOption = None,
    run: RunOption = None,
    held_out: UnseenOption = None,
    cache: CacheOption = None,
    reorient: ReorientOption = False,
    spacing_mm: SpacingOption = None,
    shape: ShapeOption = None,
    allow_skull: SkullOption = False,
    seed: SeedOption = 0,
    allow_unmarked: UnmarkedOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Score a folder of made volumes; `held-out` is what a perfect model would score.

    With --run, the run tells who was held out and how scans were prepared, and volumes have to be
    its own. Else held-out persons are those of `envoi mri train` with the same --held-out and
    --seed.
    """
    from dataclasses import asdict

    from envoi.cli.mri_made import made_files, made_voxels
    from envoi.cli.progress import following
    from envoi.data.brains import count_marked, load_brains
    from envoi.evaluation.volumes import EvaluationSettings, compare_volumes
    from envoi.files import write_json
    from envoi.report.volumes import VolumeSets, write_volume_report
    from envoi.volumes import stacked

    page = _page_beside(out, report, overwrite=overwrite)
    split = _split(run, held_out, seed, permitted(reorient, spacing_mm, shape, allow_skull))
    files = made_files(synthetic, real, run, allow_unmarked=allow_unmarked)
    people = load_brains(real, split.permissions, cache=cache)
    training, unseen = split.part(people)
    grid = training[0].volume.grid
    told = _told_by(run, training)
    sets = VolumeSets(
        stacked(training),
        stacked(unseen),
        made_voxels(files, grid),
        grid,
        of_phantoms=count_marked(real) == len(people),
    )
    settings = EvaluationSettings(spacing_mm=grid.spacing_mm, borders=told.borders, seed=seed)
    compared = (sets.training, sets.held_out, sets.synthetic)
    with following() as on_step:
        scores = compare_volumes(*compared, settings, on_step=on_step)
    words = {**told.words, **_cost_words(run, synthetic)}
    write_volume_report(page, scores, sets, model=words)
    write_json(out, asdict(scores))
    _say(scores, out)
    typer.echo(f"Report, with pictures of {sets.real_word} scans: {page}")


def _say(scores: "VolumeScores", out: Path) -> None:
    """The scores as a table."""
    for line in _table([_COLUMNS, *(_row(row) for row in scores.rows)]):
        typer.echo(line)
    typer.echo(_LEGEND)
    typer.echo(f"Frechet distances on {scores.synthetic.extractors[0]}; all scores: {out}")


@dataclass(frozen=True, slots=True)
class _Told:
    """What a run tells of its model: where its windows meet, if they do, and words."""

    borders: tuple[int, ...] | None
    words: dict[str, str]


def _page_beside(out: Path, report: Path | None, *, overwrite: bool) -> Path:
    """The page, once it is sure that both files can be written."""
    from envoi.errors import Problem, SettingsError, StorageError
    from envoi.files import check_writable

    page = report or out.with_suffix(".html")
    if page == out:
        remedy = "Name another --out, such as scores.json, or another --report."
        raise SettingsError(Problem("two files", "one", "--out and --report", remedy))
    for file, option, ending in ((out, "--out", ".json"), (page, "--report", ".html")):
        if file.suffix != ending:
            found, remedy = f"one ending in {file.suffix!r}", "Correct it."
            raise SettingsError(Problem(f"a name ending in {ending}", found, option, remedy))
        if file.is_dir() or (file.exists() and not overwrite):
            remedy = f"Choose another {option}; --overwrite replaces scores and page."
            raise StorageError(Problem("a new file", "one that exists", option, remedy))
        check_writable(file.parent)
    return page


def _split(
    run: Path | None, held_out: int | None, seed: int, permissions: "VolumePermissions"
) -> "HeldOut":
    """Who is held out and how scans are prepared: as the run did, or as the options say."""
    from envoi.data.held_out import HeldOut, read_held_out
    from envoi.data.nifti import VolumePermissions
    from envoi.errors import Problem, SettingsError
    from envoi.mri.modes import model_file, read_card

    if (run is None) == (held_out is None):
        found = "neither" if run is None else "both"
        remedy = "Name the run; for a model that was trained elsewhere, say how many."
        raise SettingsError(Problem("--run or --held-out", found, "options", remedy))
    if run is None:
        return HeldOut(persons=held_out or 0, seed=seed, permissions=permissions)
    if permissions != VolumePermissions():
        remedy = "Leave them out: scans are prepared as they were for the run."
        raise SettingsError(Problem("--run alone", "options that prepare scans", "options", remedy))
    read_card(model_file(run))  # says what is wrong with a folder that is no finished run
    return read_held_out(model_file(run).parent)


def _told_by(run: Path | None, training: "Sequence[Subject]") -> _Told:
    """Of a run that learnt from exactly these brains."""
    from envoi.mri.modes import model_file, read_card
    from envoi.mri.run import check_learnt_from
    from envoi.mri.windows import sampling_borders
    from envoi.wording import counted

    if run is None:
        return _Told(None, {})
    check_learnt_from(model_file(run).parent, training)
    card = read_card(model_file(run))
    borders: tuple[int, ...] = ()
    if card.mode == "paper":
        borders = sampling_borders(card.grid.shape[0], slots=card.plan["slots"])
    words = {
        "Model": card.mode,
        "Steps of training": f"{card.steps:,}",
        "Learnt from": counted(card.subjects, "brain"),
    }
    return _Told(borders or None, words)


def _cost_words(run: Path | None, folder: Path) -> dict[str, str]:
    """What made volumes tell of how they were drawn, and the run of what it takes."""
    from envoi.mri.making import sidecars, words_of_drawing, words_of_run

    told = sidecars(folder)
    words = words_of_drawing(told)
    if run is None:
        return words
    steps = words.get("Steps of drawing", "")
    return words | (words_of_run(run, int(steps)) if steps.isdecimal() else {})


def _row(scores: "SetScores") -> tuple[str, ...]:
    frechet = [
        f"{one:.{0 if one >= 99.95 else 1}f}"
        for one in scores.distances(scores.extractors[0]).values()
    ]
    return (
        _SHORT.get(scores.name, scores.name),
        f"{scores.volumes}",
        f"{scores.similarity.mean:.3f}",
        f"{scores.discrepancy().squared:.3f}",
        "/".join(frechet),
        f"{scores.through_plane.largest_jump:.3f}",
        f"{scores.through_plane.seams:.2f}/{scores.through_plane.seams_anywhere:.1f}",
        f"{scores.region('ventricles').effect.value:+.2f}",
        f"{scores.copied}",
    )


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines with columns one below the other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
