"""The `joint` model: all voxels of a volume are denoised together, by a network that is 2D.

The population's covariance draws the anatomy at a quarter of the size along each axis (`coarse`),
and with it where the brain ends (`outline`). A 2D network, whose channels are the slices of a slab,
then denoises the whole brain at every step around it (`slab_denoiser`). The seed (cDPM, doi
10.1007/978-3-031-43993-3_2) draws slices window after window.

The network does not learn what is the same in everybody: it sees what differs from an atlas, in
units of how much it differs there (`atlas`), and predicts the v target of that (`angles`). What is
no brain is given to it, as slices are.

Memory, beside the networks' weights, in fp32 volumes: for sampling, in any number of steps,
eighteen and one slab's maps, or twenty where that is more. The eighteen are mean and deviation of
the atlas, what age and what sex do, the mean of what coarse distances miss, 64 factors of coarse
intensities and distances at a quarter of each length (two), given voxels and their mask, what is
expected, what is known, each voxel's share, z_t, its angle, the data of the step before, z_t with
what is known put in, the intensity that it amounts to, and the blended answer. 2D maps are a
`1/thickness` of a 3D network's.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from envoi.mri.agreement import Agreement
from envoi.mri.coarse import Coarse, CoarseVolumes, Pair, coarse_of, refined
from envoi.mri.conditions import hidden
from envoi.mri.field import BACKGROUND
from envoi.mri.gaussian import Known
from envoi.mri.given import Given
from envoi.mri.joint_plan import JointPlan
from envoi.mri.model import OnSample, VolumeModel, ignore_sample
from envoi.mri.outline import DARKEST, Outline, brain_of, outline_of, signed_distance
from envoi.mri.population import Persons, Population, Voxels
from envoi.mri.slab_denoiser import Context, SlabDenoiser

Volume = Float[Tensor, "depth height width"]

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

    outlines = True

    def __init__(
        self, plan: JointPlan, *, checkpointed: bool = False, slabs_at_once: int = 1
    ) -> None:
        super().__init__()
        self.plan = plan
        self.slab = SlabDenoiser(plan, checkpointed=checkpointed, slabs_at_once=slabs_at_once)
        self.coarse = CoarseVolumes(plan)
        self.outline = Outline(plan.shape)

    def prepare(self, population: Population) -> None:
        """See `VolumeModel.prepare`: atlases of coarse volumes, and of what they miss.

        On the CPU, where the volumes are: memory of a GPU is left to the steps.
        """
        device = self.device
        self.to("cpu")
        self._learn(population)
        self.to(device)

    def _learn(self, population: Population) -> None:
        persons = population.persons
        self.coarse.learn_usual(self._each(population))
        pairs = torch.empty(len(persons), *self.coarse.atlas.mean.shape)
        self.outline.learn(self._distances(population, pairs))
        self.coarse.learn(pairs, persons)
        atlas = self.slab.atlas
        atlas.learn(self._missed(population, pairs))
        self.slab.effects.learn(
            (one.sub_(atlas.mean).nan_to_num_() for one in self._missed(population, pairs)), persons
        )
        self.slab.field.learn(self._each(population))

    def _distances(
        self, population: Population, pairs: Float[Tensor, "person 2 _ _ _"]
    ) -> Iterator[tuple[Volume, Volume]]:
        """Everybody's distances, and what coarse ones make of them; fills in the pairs."""
        for one, pair in zip(self._each(population), pairs, strict=True):
            distance = signed_distance(one)
            pair.copy_(self._pair(one, distance))
            del one  # what is yielded is taken up while nothing else lives
            yield distance, refined(pair[1:], self.plan)[0]
            del distance

    def _missed(
        self, population: Population, pairs: Float[Tensor, "person 2 _ _ _"]
    ) -> Iterator[Volume]:
        """What coarse intensities miss of everybody; NaN where there is no brain."""
        for one, pair in zip(self._each(population), pairs, strict=True):
            apart = one - refined(pair[:1], self.plan)[0]
            yield apart.masked_fill_(one <= BACKGROUND, torch.nan)

    def losses(
        self, population: Population, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """See `VolumeModel.losses`: of slabs around coarse volumes that are more or less noisy."""
        volumes, persons = population.drawn(batch, generator)
        doubt = torch.rand(len(volumes), generator=generator)
        volumes = volumes.to(self.device)
        coarse = self.coarse.intensities(volumes)
        noise = torch.randn(coarse.shape, generator=generator).to(coarse)
        noise *= (_CONTEXT_NOISE * doubt)[:, None, None, None].to(coarse)
        persons = hidden(persons, generator)
        noisy = coarse + self.coarse.atlas.deviation[0] * noise
        context = self._context(noisy, brain_of(volumes), persons, doubt)
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
        if given:
            given = Given(given.voxels.to(self.device), given.mask.to(self.device))
        drawn = []
        for row in persons.to(self.device):
            pair, around = self._surveyed(row, given, generator)
            brain = brain_of(around.voxels)[None]
            context = self._context(pair[:1], brain, row[None], doubt=torch.zeros(1))
            del brain
            agreement = Agreement.of(self.coarse, self.slab.field, self.slab.atlas, pair[0])
            drawn.append(self.slab.draw(context, agreement, around, steps, generator, on_sample))
        return torch.stack(drawn)

    def _each(self, population: Population) -> Iterator[Volume]:
        return (one.float() for one in population.voxels)

    def _pair(self, volume: Volume, distance: Volume) -> Pair:
        """Coarse intensities and distances of somebody."""
        coarse = coarse_of(distance[None], self.plan.coarse_factor)
        return torch.cat([self.coarse.intensities(volume[None]), coarse])

    def _surveyed(
        self, person: Float[Tensor, " value"], given: Given | None, generator: torch.Generator
    ) -> tuple[Pair, Given]:
        """Who somebody is, and all that is then given: slices, and what is no brain.

        Voxels that are not given are brain; they are 1.
        """
        known = self._known(given) if given else self.coarse.nothing
        pair = self.coarse.draw(person, known, generator)
        brain = self.outline.draw(refined(pair[1:], self.plan)[0], generator)
        voxels, mask = 2 * brain - 1, 1 - brain
        if given:
            voxels = torch.where(given.mask > 0, given.voxels, voxels)
            mask = torch.maximum(given.mask, mask)
        return pair, Given(voxels, mask)

    def _known(self, given: Given) -> Known:
        """Of coarse volumes, from given voxels: by how much they differ from everybody's."""
        intensity, distance = self.coarse.atlas.mean[:, None]
        usual = refined(intensity, self.plan)[0].add_(self.slab.atlas.mean)
        inside = Given(given.voxels - usual, given.mask * brain_of(given.voxels))
        usual = refined(distance, self.plan)[0].add_(self.outline.missed)
        outline = Given(-usual, outline_of(given.voxels, given.mask))  # there distances are 0
        return self.coarse.known(inside, outline)

    def _context(
        self, coarse: Coarse, brain: Voxels, persons: Persons, doubt: Float[Tensor, " batch"]
    ) -> Context:
        """Around coarse intensities, and the mean of what they miss; within brains."""
        missed = self.slab.effects.usual(persons).reshape(-1, *self.plan.shape)
        base = missed.add_(self.slab.atlas.mean).add_(refined(coarse, self.plan))
        base = torch.where(brain > 0, base.clamp_(min=DARKEST), BACKGROUND)
        return Context(coarse, base, persons, doubt)
