"""The folder of made volumes that `envoi mri evaluate` scores: by whom, and on which grid."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from envoi.errors import Problem
    from envoi.volumes import Grid

_WHERE = "--synthetic"


def made_files(
    folder: Path, real: Path, run: Path | None, *, allow_unmarked: bool
) -> "Sequence[Path]":
    """The volumes of a folder, each marked as made, and with a run by its model.

    Args:
        folder: Of made volumes.
        real: The folder of real ones, which is another.
        run: Whose model drew them; None is anybody.
        allow_unmarked: Whether volumes may be there that nothing marks as made.

    Raises:
        DataError: There are too few, or real or completed ones, or those of another model.
        StorageError: There is no such folder, or a sidecar is damaged.
    """
    from envoi.data.nifti import mark_of
    from envoi.errors import DataError, Problem, StorageError
    from envoi.files import file_digest
    from envoi.mri.modes import model_file

    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        remedy = "Check the path: `envoi mri sample` makes the folder."
        raise StorageError(Problem("a folder of made volumes", found, _WHERE, remedy))
    files = sorted(file for file in folder.glob("*.nii*") if file.name[0] != ".")
    if len(files) < 2:
        remedy = "Draw some with `envoi mri sample`."
        raise DataError(Problem("two volumes at least", f"{len(files)}", _WHERE, remedy))
    if folder.resolve() == real.resolve():
        remedy = "Name the folder that `envoi mri sample` wrote."
        raise DataError(Problem("made volumes", "the folder of real ones", _WHERE, remedy))
    marks = [mark_of(file) for file in files]
    digest = file_digest(model_file(run)) if run else None
    if problem := _unlike(marks, digest, allow_unmarked=allow_unmarked):
        raise DataError(problem)
    return files


def made_voxels(files: "Sequence[Path]", grid: "Grid") -> "np.ndarray":
    """The voxels of made volumes as they are, 0 to 1, on the grid of the real ones.

    Raises:
        DataError: A volume is wrong, not within 0..1, or on another grid.
    """
    import numpy as np

    from envoi.data.nifti import VolumePermissions, read_nifti
    from envoi.errors import DataError, Problem

    made = VolumePermissions(allow_skull=True)  # a grainy corner is the model's fault, no skull
    volumes = [
        read_nifti(file, made, where=f"{_WHERE}, file {n}", normalise=False)
        for n, file in enumerate(files, 1)
    ]
    for number, volume in enumerate(volumes, 1):
        if not volume.grid.is_like(grid):
            remedy = "Evaluate with the brains and the spacing that the model learned from."
            where = f"{_WHERE}, file {number}"
            raise DataError(Problem(f"{grid}", f"{volume.grid}", where, remedy))
    return np.stack([volume.voxels for volume in volumes])


def _unlike(
    marks: Sequence[Mapping[str, Any]], digest: str | None, *, allow_unmarked: bool
) -> "Problem | None":
    """Why these are not the volumes that are meant."""
    from envoi.errors import Problem

    unmarked = sum("GeneratedBy" not in mark for mark in marks)  # the header alone tells little
    if unmarked and not allow_unmarked:
        remedy = (
            "Name the folder that `envoi mri sample` wrote; --allow-unmarked takes any volumes."
        )
        found = f"{unmarked} of {len(marks)} without it"
        return Problem("a sidecar that marks each volume as made", found, _WHERE, remedy)
    completed = sum(mark.get("PartlyReal") is True or "GivenSlices" in mark for mark in marks)
    if completed:
        remedy = "Name the folder that `envoi mri sample` wrote; given slices are not the model's."
        found = f"{completed} of {len(marks)} completed around given slices"
        return Problem("volumes that are drawn as a whole", found, _WHERE, remedy)
    others = sum("GeneratedBy" in mark and mark.get("ModelDigest") != digest for mark in marks)
    if digest is not None and others:
        remedy = "Name the run that drew them, or volumes that this run drew."
        found = f"{others} of {len(marks)} by another"
        return Problem("volumes of the run's model", found, _WHERE, remedy)
    return None
