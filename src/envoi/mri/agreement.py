"""Data that agree with the coarse volume they were drawn around.

A network that has learned for a short time changes who somebody is while it adds the detail: a
part of how the means of blocks differ from everybody's is lost. At every step of sampling the data
seen are therefore moved until blocks have the means that were drawn, as in ILVR (arXiv:2108.02938);
voxels that differ more between people are moved more, as by a Kalman filter that knows voxels'
variances alone. `benchmarks/mri_drawing.py` measures what it brings.

Memory: three volumes while data are moved.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from envoi.mri.atlas import FARTHEST, Atlas
from envoi.mri.coarse import CoarseVolumes, coarse_of, refined
from envoi.mri.field import BACKGROUND, Field
from envoi.mri.outline import DARKEST, brain_of

Part = Float[Tensor, "_ _ _"]
CoarseVolume = Float[Tensor, "coarse_depth coarse_height coarse_width"]


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """With one coarse volume.

    Attributes:
        coarse: How coarse volumes are taken.
        field: Where something is drawn.
        drawn: The intensities of blocks that were drawn.
        variance: Of the voxels of each block, its mean.
    """

    coarse: CoarseVolumes
    field: Field
    drawn: CoarseVolume
    variance: CoarseVolume

    @classmethod
    def of(
        cls, coarse: CoarseVolumes, field: Field, atlas: Atlas, drawn: CoarseVolume
    ) -> "Agreement":
        """With a coarse volume whose voxels vary as an atlas has it; intensities stay in range."""
        variance = coarse_of(atlas.deviation.square()[None], coarse.plan.coarse_factor)[0]
        return cls(coarse, field, drawn.clamp(-1, 1), variance)

    def moved(self, data: Part, base: Part, deviation: Part) -> Part:
        """Data of the field, in deviations from the base, nearer to what was drawn."""
        volume = self.field.around(painted(base, deviation, data))
        missing = self.drawn - self.coarse.intensities(volume[None])[0]
        missing *= coarse_of(brain_of(volume)[None], self.coarse.plan.coarse_factor)[0] > 0
        del volume
        put = self.field.of(refined((missing / self.variance)[None], self.coarse.plan)[0])
        return torch.addcmul(data, put, deviation).clamp_(-FARTHEST, FARTHEST)


def painted(base: Part, deviation: Part, data: Part) -> Part:
    """Intensities, from data in deviations from a base that is -1 where there is no brain."""
    inside = torch.addcmul(base, deviation, data).clamp_(DARKEST, 1)
    return inside.masked_fill_(base <= BACKGROUND, BACKGROUND)
