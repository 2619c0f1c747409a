"""One volume out of a trained model, and the words that mark it as made."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from envoi.mri.choices import check_multiples
from envoi.mri.given import Given
from envoi.mri.model import VolumeModel
from envoi.mri.modes import ModelCard
from envoi.mri.population import intensities, person
from envoi.precision import computing
from envoi.seeding import torch_generator
from envoi.settings import Precision
from envoi.volumes import Sex


def drawn_intensities(  # noqa: PLR0913  (all that decides a volume)
    model: VolumeModel,
    age_years: float | None,
    sex: Sex | None,
    *,
    steps: int,
    seed: int,
    number: int,
    precision: Precision = "auto",
    given: Given | None = None,
) -> Float[NDArray[np.float32], "depth height width"]:
    """Volume `number` of a seed, about 0 to 1; `envoi.mri.brain` makes a `Volume` of it.

    Args:
        model: A trained one.
        age_years: Of the person; None is any.
        sex: Of the person; None is any.
        steps: Of the solver.
        seed: Of all volumes.
        number: Of this one; equal seeds and numbers draw equal volumes.
        precision: Of the networks.
        given: Voxels to keep.

    Raises:
        MethodError: The model cannot complete volumes.
        SettingsError: There is no step.
    """
    check_multiples("steps", [steps], 1)
    with computing(precision, model.device):
        drawn = model.draw(
            person(age_years, sex)[None],
            steps=steps,
            generator=torch_generator(seed, "mri", "sample", number),
            given=given,
        )
    voxels: NDArray[np.float32] = intensities(drawn)[0]
    return voxels


def sidecar_of(
    card: ModelCard,
    *,
    steps: int,
    seed: int,
    number: int,
    precision: Precision,
    about: Mapping[str, object],
) -> dict[str, Any]:
    """What stands beside a made volume: its model, and how to make it again."""
    return {
        "Model": f"envoi.mri, mode {card.mode}",
        "Seed": seed,
        "Number": number,
        "Settings": {"Steps": steps, "Plan": card.plan, "Precision": precision, **about},
    }
