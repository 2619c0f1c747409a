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
from envoi.mri.coarse import coarse_of, refined
from envoi.mri.field import Field
from envoi.mri.joint_plan import JointPlan

Part = Float[Tensor, "_ _ _"]


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """With one coarse volume.

    Attributes:
        plan: Of the joint model.
        field: Where something is drawn.
        coarse: The means of blocks that were drawn.
        variance: Of the voxels of each block, its mean.
    """

    plan: JointPlan
    field: Field
    coarse: Float[Tensor, "coarse_depth coarse_height coarse_width"]
    variance: Float[Tensor, "coarse_depth coarse_height coarse_width"]

    @classmethod
    def of(
        cls, plan: JointPlan, field: Field, atlas: Atlas, coarse: Float[Tensor, "_ _ _"]
    ) -> "Agreement":
        """With a coarse volume whose voxels vary as an atlas has it; intensities stay in range."""
        variance = coarse_of(atlas.deviation.square()[None], plan.coarse_factor)[0]
        return cls(plan, field, coarse.clamp(-1, 1), variance)

    def moved(self, data: Part, base: Part, deviation: Part) -> Part:
        """Data of the field, in deviations from the base, nearer to what was drawn."""
        volume = self.field.around((base + deviation * data).clamp_(-1, 1))
        missing = self.coarse - coarse_of(volume[None], self.plan.coarse_factor)[0]
        del volume
        put = self.field.of(refined((missing / self.variance)[None], self.plan)[0])
        return torch.addcmul(data, put, deviation).clamp_(-FARTHEST, FARTHEST)
