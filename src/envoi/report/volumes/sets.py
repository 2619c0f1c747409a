"""The volumes that a report shows, and whether they are those that were scored."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from envoi.errors import Problem, ShapeError
from envoi.evaluation.arrays import Volumes
from envoi.evaluation.scores import VolumeScores
from envoi.volumes import Grid


@dataclass(frozen=True, slots=True, eq=False)
class VolumeSets:
    """What was compared: arrays `(volume, depth, height, width)`, 0 to 1, axes of RAS+.

    Attributes:
        training: Real volumes that the model learnt from.
        held_out: Real volumes that it did not.
        synthetic: The model's.
        grid: Of all of them.
        of_phantoms: Whether those that are called real were made, too, which the page then says.
    """

    training: Volumes
    held_out: Volumes
    synthetic: Volumes
    grid: Grid
    of_phantoms: bool = field(default=False, kw_only=True)

    @property
    def real_word(self) -> str:
        """What those that are called real are."""
        return "made" if self.of_phantoms else "real"


def check_sets(sets: VolumeSets, scores: VolumeScores) -> None:
    """Require the volumes to be as many, and as large, as those that were scored.

    Raises:
        ShapeError: They are not; all that differs at once.
    """
    if problems := list(_problems(sets, scores)):
        raise ShapeError(*problems)


def _problems(sets: VolumeSets, scores: VolumeScores) -> Iterator[Problem]:
    remedy = "Give the volumes that were compared."
    told = (
        ("training", sets.training, scores.training_volumes),
        ("held-out", sets.held_out, scores.held_out.volumes),
        ("synthetic", sets.synthetic, scores.synthetic.volumes),
    )
    for name, volumes, count in told:
        expected = (count, *scores.shape)
        if volumes.shape != expected:
            yield Problem(f"{expected}, as scored", f"{volumes.shape}", name, remedy)
    if sets.grid.shape != scores.shape or sets.grid.spacing_mm != scores.spacing_mm:
        found = f"{sets.grid.shape} of {sets.grid.spacing_mm} mm"
        yield Problem(f"{scores.shape} of {scores.spacing_mm} mm", found, "grid", remedy)
