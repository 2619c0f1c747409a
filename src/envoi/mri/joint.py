"""The `joint` model: all voxels of a volume are denoised together, by a network that is 2D.

The population's covariance draws the anatomy at a quarter of the size along each axis (`coarse`).
A 2D network, whose channels are the slices of a slab, then denoises the whole volume at every step
around it (`slab_denoiser`). The seed (cDPM, doi 10.1007/978-3-031-43993-3_2) draws slices window
after window.

The network does not learn what is the same in everybody: it sees what differs from an atlas, in
units of how much it differs there (`atlas`), and predicts the v target of that (`angles`).

Memory, beside the networks' weights, in fp32 volumes: for sampling, in any number of steps,
sixteen and one slab's maps, or nineteen where that is more. The sixteen are mean and deviation of
the atlas, what age and what sex do, the coarse covariance's 64 factors at a quarter of each length,
given voxels and their mask, what is expected, what is known, each voxel's share, z_t, its angle,
the data of the step before, z_t with what is known put in, the intensity that it amounts to, and
the blended answer. The two before the last are gone when the answer is turned into data and noise,
which takes five. 2D maps are a `1/thickness` of a 3D network's.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from envoi.mri.coarse import Coarse, CoarseVolumes, coarse_of, refined
from envoi.mri.conditions import hidden
from envoi.mri.given import Given
from envoi.mri.joint_plan import JointPlan
from envoi.mri.model import OnSample, VolumeModel, ignore_sample
from envoi.mri.population import Persons, Population, Voxels
from envoi.mri.slab_denoiser import Context, SlabDenoiser

# Noise on the coarse volume, in units of its deviation, drawn up to this in training, so that the
# network does not take it at its word (arXiv:2106.15282, section 4). Sampling adds none.
_CONTEXT_NOISE = 0.25


class JointModel(VolumeModel):
    """See the module.

    Args:
        plan: Its shape.
        checkpointed: Trade time for memory in training.
        slabs_at_once: Slabs of one step that are denoised together when sampling.
    """

    def __init__(
        self, plan: JointPlan, *, checkpointed: bool = False, slabs_at_once: int = 1
    ) -> None:
        super().__init__()
        self.plan = plan
        self.slab = SlabDenoiser(plan, checkpointed=checkpointed, slabs_at_once=slabs_at_once)
        self.coarse = CoarseVolumes(plan)

    def prepare(self, population: Population) -> None:
        """See `VolumeModel.prepare`: atlases of coarse volumes, and of what they miss."""
        factor = self.plan.coarse_factor
        coarse = torch.cat([coarse_of(one[None], factor) for one in self._each(population)])

        def missed() -> Iterator[Float[Tensor, "depth height width"]]:
            for one, known in zip(self._each(population), coarse, strict=True):
                yield one - refined(known[None], self.plan)[0]

        self.coarse.learn(coarse, population.persons)
        self.slab.atlas.learn(missed(), everywhere=not self.plan.atlas)
        self.slab.effects.learn(missed(), population.persons)
        self.slab.field.learn(self._each(population))

    def losses(
        self, population: Population, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """See `VolumeModel.losses`: of slabs around coarse volumes that are more or less noisy."""
        volumes, persons = population.drawn(batch, generator)
        doubt = torch.rand(len(volumes), generator=generator)
        coarse = coarse_of(volumes, self.plan.coarse_factor).to(self.device)
        noise = torch.randn(coarse.shape, generator=generator).to(coarse)
        noise *= (_CONTEXT_NOISE * doubt)[:, None, None, None].to(coarse)
        persons = hidden(persons, generator)
        context = self._context(coarse + self.coarse.atlas.deviation * noise, persons, doubt)
        return {"slab": self.slab.loss(volumes, context, generator)}

    @torch.no_grad()
    def draw(
        self,
        persons: Persons,
        *,
        steps: int,
        generator: torch.Generator,
        given: Given | None = None,
        on_sample: OnSample = ignore_sample,
    ) -> Voxels:
        """See `VolumeModel.draw`; one volume after the other."""
        given = given or Given(torch.zeros(self.plan.shape), torch.zeros(self.plan.shape))
        given = Given(given.voxels.to(self.device), given.mask.to(self.device))
        drawn = []
        for row in persons.to(self.device):
            coarse = self.coarse.draw(row, self._apart(given), generator)
            context = self._context(coarse, row[None], doubt=torch.zeros(1))
            drawn.append(self.slab.draw(context, given, steps, generator, on_sample))
        return torch.stack(drawn)

    def _each(self, population: Population) -> Iterator[Float[Tensor, "depth height width"]]:
        return (one.float().to(self.device) for one in population.voxels)

    def _apart(self, given: Given) -> Given:
        """Given voxels less the mean of each over people."""
        mean = refined(self.coarse.atlas.mean[None], self.plan)[0] + self.slab.atlas.mean
        return Given(given.voxels - mean, given.mask)

    def _context(self, coarse: Coarse, persons: Persons, doubt: Float[Tensor, " batch"]) -> Context:
        """Around coarse volumes, and the mean of what they miss."""
        missed = self.slab.effects.usual(persons).reshape(-1, *self.plan.shape)
        base = missed.add_(self.slab.atlas.mean).add_(refined(coarse, self.plan))
        return Context(coarse, base, persons, doubt)
