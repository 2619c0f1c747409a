"""What a model can be asked for: persons as those it learnt from, scans on its grid.

A sex that it never learnt from, or an age where it was told none, is refused: the network has an
input for it, and what the input does was never learnt. An age outside the range is only doubtful.
A scan on another grid shows everything at another size than the network has ever met it.
"""

import math
import warnings
from collections.abc import Sequence

from envoi.errors import DataError, EnvoiWarning, Problem, SettingsError
from envoi.mri.modes import ModelCard
from envoi.volumes import Sex, Subject, Volume

# Ages on a card are rounded away from the people, since the youngest and the oldest are persons.
_STEP_YEARS = 5


def ages_of(subjects: Sequence[Subject]) -> tuple[float, ...]:
    """Youngest and oldest, rounded outwards to five years; empty where no age is known."""
    known = [subject.age_years for subject in subjects if subject.age_years is not None]
    if not known:
        return ()
    low, high = math.floor(min(known) / _STEP_YEARS), math.ceil(max(known) / _STEP_YEARS)
    return float(low * _STEP_YEARS), float(high * _STEP_YEARS)


def sexes_of(subjects: Sequence[Subject]) -> tuple[Sex, ...]:
    """The sexes that are known of subjects, sorted."""
    return tuple(sorted({subject.sex for subject in subjects if subject.sex is not None}))


def check_asked(card: ModelCard, age_years: float | None, sex: Sex | None) -> None:
    """Refuse an age or sex that means nothing to a model; warn of an age that it never met.

    Args:
        card: Of the model.
        age_years: None is any.
        sex: None is any.

    Raises:
        SettingsError: The model is told no such thing, or learnt from nobody like that.
    """
    if card.mode != "joint" and (age_years is not None or sex is not None):
        remedy = "Leave them out, or use a model of mode joint."
        raise SettingsError(Problem("no --age and no --sex", "some", f"mode {card.mode}", remedy))
    if sex is not None and sex not in card.sexes:
        known = " or ".join(card.sexes)
        expected = f"{known}, as the model learnt from" if known else "none, as in training"
        raise SettingsError(Problem(expected, sex, "--sex", "Leave it out."))
    if age_years is None:
        return
    if not card.ages_years:
        expected, remedy = "none, as in training", "Leave it out."
        raise SettingsError(Problem(expected, f"{age_years:g} years", "--age", remedy))
    low, high = card.ages_years
    if not low <= age_years <= high:
        warnings.warn(
            f"the model learnt from people of {low:g} to {high:g} years; "
            f"what it draws for {age_years:g} is a guess.",
            EnvoiWarning,
            stacklevel=2,
        )


def check_scan(card: ModelCard, scan: Volume, *, where: str = "scan") -> None:
    """Require a scan on the grid that a model draws on.

    Args:
        card: Of the model.
        scan: To be completed.
        where: What the message calls it.

    Raises:
        DataError: Its shape or spacing is another.
    """
    if not scan.grid.is_like(card.grid):
        expected = f"{card.grid.shape} voxels of {card.grid.spacing_mm} mm"
        found = f"{scan.grid.shape} of {scan.grid.spacing_mm} mm"
        remedy = (
            "Prepare the scan as the model's brains were, by --spacing-mm and --shape "
            "(in Python, spacing_mm and shape of VolumePermissions)."
        )
        raise DataError(Problem(expected, found, where, remedy))
