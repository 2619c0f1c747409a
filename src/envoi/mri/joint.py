"""The `joint` model: all voxels of a volume are denoised together, by a network that is 2D.

A coarse 3D network draws the anatomy at a quarter of the size along each axis, beginning with what
its covariance over the population tells (`gaussian`). A 2D network, whose channels are the slices
of a slab, then denoises the whole volume at every step: it takes the noisy slab, the given slices
with a mask, the coarse context and the intensity that they amount to, and is told the plane, the
slab's place and how noisy its context is. Steps cut the volume along random planes at random
shifts and blend overlaps (`slabs`), so nothing is generated in an order and no border lasts. The
seed (cDPM, doi 10.1007/978-3-031-43993-3_2) draws slices window after window.

Neither network learns what is the same in everybody: both see what differs from an atlas, in
units of how much it differs there (`atlas`), and predict the v target of that (`angles`).

Memory: for sampling, eight volumes and one slab's maps; 2D maps are a `1/thickness` of a
3D network's.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from envoi.errors import Problem, SettingsError
from envoi.mri.angles import Target, parts, random_times, rotated, schedule, target_of, walk
from envoi.mri.atlas import Atlas
from envoi.mri.choices import below
from envoi.mri.conditions import ConditionEmbedding, hidden
from envoi.mri.gaussian import Gaussian
from envoi.mri.given import Given, random_mask
from envoi.mri.model import OnSample, VolumeModel, ignore_sample
from envoi.mri.padding import ends_to_multiples
from envoi.mri.population import Persons, Population, Voxels
from envoi.mri.slab_network import SlabNetwork, SlabPlan
from envoi.mri.slabs import Plane, cuts, facing, turned_back
from envoi.mri.unet import UNet, UNetPlan

Coarse = Float[Tensor, "batch coarse_depth coarse_height coarse_width"]

# Noise on the coarse context, in units of its deviation: drawn up to the first in training, the
# second when sampling, so that the slab network forgives what the coarse network gets wrong
# (arXiv:2106.15282, section 4).
_CONTEXT_NOISE = 0.5
_CONTEXT_NOISE_SAMPLING = 0.15
# Given voxels beyond so many deviations tell no more.
_FARTHEST = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JointPlan:
    """Everything that shapes a joint model.

    Attributes:
        shape: Depth, height and width of its volumes.
        thickness: Slices of a slab.
        overlap: Slices that neighbouring slabs share when sampling.
        fine: Channels of the slab network's 3D level.
        widths: Channels of its 2D levels.
        blocks: Residual blocks of a level.
        coarse_factor: Voxels along an axis that make one coarse voxel.
        coarse_widths: Channels of the coarse network's levels.
        factors: Of the covariance of coarse volumes.
        target: What the networks predict.
        atlas: Whether mean and deviation are of each voxel; else they are of all together.

    Raises:
        SettingsError: Slabs do not fit the volume.
    """

    shape: tuple[int, int, int]
    thickness: int = 16
    overlap: int = 4
    fine: int = 8
    widths: tuple[int, ...] = (32, 64, 96)
    blocks: int = 1
    coarse_factor: int = 4
    coarse_widths: tuple[int, ...] = (32, 64)
    factors: int = 64
    target: Target = "v"
    atlas: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.thickness <= min(self.shape):
            expected = f"overlap below thickness, and thickness at most {min(self.shape)}"
            found, remedy = f"{self.overlap} and {self.thickness}", "Choose thinner slabs."
            raise SettingsError(Problem(expected, found, "thickness", remedy))


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
        self.plan, self.slabs_at_once = plan, slabs_at_once
        self.planes = tuple(Plane)
        slab = SlabPlan(
            inputs=5,
            thickness=plan.thickness,
            fine=plan.fine,
            widths=plan.widths,
            blocks=plan.blocks,
        )
        coarse = UNetPlan(dimensions=3, inputs=4, outputs=1, widths=plan.coarse_widths)
        self.slab = _Told(
            SlabNetwork(slab, checkpointed=checkpointed), conditions=2 + 2 + 1 + len(Plane)
        )
        self.coarse = _Told(UNet(coarse, checkpointed=checkpointed), conditions=1 + 2)
        size = [-(-length // plan.coarse_factor) for length in plan.shape]
        self.coarse_atlas, self.atlas = Atlas(size), Atlas(plan.shape)
        self.gaussian = Gaussian(size, plan.factors)

    def prepare(self, population: Population) -> None:
        """See `VolumeModel.prepare`: atlases of coarse volumes, and of what they miss."""
        volumes, factor = population.voxels, self.plan.coarse_factor
        coarse = torch.cat([coarse_of(one[None, None].float(), factor)[0] for one in volumes])
        missed = (
            one.float() - refined(known[None], self.plan)[0]
            for one, known in zip(volumes, coarse, strict=True)
        )
        self.coarse_atlas.learn(coarse, everywhere=not self.plan.atlas)
        self.gaussian.learn((coarse - self.coarse_atlas.mean) / self.coarse_atlas.deviation)
        self.atlas.learn(missed, everywhere=not self.plan.atlas)

    def losses(
        self, population: Population, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """See `VolumeModel.losses`; each network learns from `batch` volumes of its own."""
        return {
            "slab": self._slab_loss(*population.drawn(batch, generator), generator),
            "coarse": self._coarse_loss(*population.drawn(batch, generator), generator),
        }

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
        for row in persons:
            told = row[None].to(self.device)
            coarse = self._draw_coarse(told, given, steps, generator)
            drawn.append(self._draw_volume(coarse, told, given, steps, generator, on_sample))
        return torch.stack(drawn)

    def _draw_coarse(
        self, told: Persons, given: Given, steps: int, generator: torch.Generator
    ) -> Coarse:
        known = self._coarse_given(given.voxels[None], given.mask[None])
        atlas = self.coarse_atlas

        def split(state: Tensor, angle: Tensor, time: float) -> tuple[Tensor, Tensor]:
            said = self._coarse_says(state, angle, torch.full((1,), time), told, known)
            return parts(state, said, angle, self.plan.target)

        start = self._noise(known[:, :1].shape, generator)
        drawn = walk(split, start, atlas.share, steps)[:, 0]
        noise = _CONTEXT_NOISE_SAMPLING * self._noise(drawn.shape, generator)
        return atlas.mean + atlas.deviation * (drawn + noise)

    def _draw_volume(
        self,
        coarse: Coarse,
        told: Persons,
        given: Given,
        steps: int,
        generator: torch.Generator,
        on_sample: OnSample,
    ) -> Float[Tensor, "depth height width"]:
        base = refined(coarse, self.plan)[0] + self.atlas.mean
        deviation, calls = self.atlas.deviation, 0
        known = ((given.voxels - base) / deviation).clamp(-_FARTHEST, _FARTHEST)

        def split(state: Tensor, angle: Tensor, time: float) -> tuple[Tensor, Tensor]:
            nonlocal calls
            calls += 1
            on_sample(calls, steps)
            plane = self.planes[below(len(self.planes), generator)]
            shown = torch.where(given.mask > 0, known, state)
            maps = slab_maps(shown, given.mask, base, deviation, angle)
            volumes = [facing(volume, plane) for volume in maps]
            said = turned_back(self._blended(volumes, plane, time, told, generator), plane)
            return parts(state, said, angle, self.plan.target)

        start = self._noise(self.plan.shape, generator)
        drawn = walk(split, start, self.atlas.share, steps)
        volume = (base + deviation * drawn).clamp(-1, 1)
        return torch.where(given.mask > 0, given.voxels, volume)

    def _blended(
        self,
        volumes: list[Tensor],
        plane: Plane,
        time: float,
        told: Persons,
        generator: torch.Generator,
    ) -> Float[Tensor, "slice row column"]:
        """What the network says of a whole volume, from all slabs of one cut."""
        thickness, slices = self.plan.thickness, len(volumes[0])
        stride = thickness - self.plan.overlap
        cut = cuts(slices, thickness, self.plan.overlap, below(stride, generator))
        total = torch.zeros_like(volumes[0])
        for first in range(0, len(cut.starts), self.slabs_at_once):
            starts = cut.starts[first : first + self.slabs_at_once]
            maps = torch.stack(
                [
                    torch.stack([volume[start : start + thickness] for start in starts])
                    for volume in volumes
                ],
                dim=1,
            )
            values = self._told_slab(
                torch.full((len(starts),), time),
                told.expand(len(starts), -1),
                torch.full((len(starts),), _CONTEXT_NOISE_SAMPLING),
                torch.tensor([place(start, thickness, slices) for start in starts]),
                plane,
            )
            said = self.slab(maps, values)
            for start, own, weight in zip(starts, said, cut.weights[first:], strict=False):
                total[start : start + thickness] += own.to(total) * weight.to(total)[:, None, None]
        return total

    def _slab_loss(
        self, volumes: Voxels, persons: Persons, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        plan, batch, atlas = self.plan, len(volumes), self.atlas
        plane = self.planes[below(len(self.planes), generator)]
        slices = plan.shape[plane.axis]
        masks = torch.stack([random_mask(plan.shape, generator) for _ in range(batch)])
        coarse = coarse_of(volumes[:, None], plan.coarse_factor)[:, 0].to(self.device)
        sureness = _CONTEXT_NOISE * torch.rand(batch, generator=generator)
        noise = self._noise(coarse.shape, generator) * self.coarse_atlas.deviation
        coarse = coarse + sureness.to(noise)[:, None, None, None] * noise
        base = refined(coarse, plan) + atlas.mean
        starts = [below(slices - plan.thickness + 1, generator) for _ in range(batch)]
        clean, known, around, deviation = (
            torch.stack(
                [
                    facing(volume, plane)[start : start + plan.thickness]
                    for volume, start in zip(maps, starts, strict=True)
                ]
            ).to(self.device)
            for maps in (volumes, masks, base, atlas.deviation.expand(batch, -1, -1, -1))
        )
        times = random_times(batch, generator)
        angle = schedule(times[:, None, None, None].to(deviation), deviation / atlas.typical)
        data = ((clean - around) / deviation).clamp(-_FARTHEST, _FARTHEST)
        start = self._noise(data.shape, generator)
        values = self._told_slab(
            times,
            hidden(persons, generator),
            sureness,
            torch.tensor([place(start, plan.thickness, slices) for start in starts]),
            plane,
        )
        mixed = rotated(data, start, angle)
        shown = torch.where(known > 0, data, mixed)
        maps = slab_maps(shown, known, around, deviation, angle)
        found: Tensor = self.slab(torch.stack(maps, dim=1), values)
        return masked_error(found, target_of(data, start, angle, plan.target), known)

    def _coarse_loss(
        self, volumes: Voxels, persons: Persons, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        plan, batch, atlas = self.plan, len(volumes), self.coarse_atlas
        masks = torch.stack([random_mask(plan.shape, generator) for _ in range(batch)])
        known = self._coarse_given(volumes.to(self.device), masks.to(self.device))
        clean = coarse_of(volumes[:, None], plan.coarse_factor).to(self.device)
        data = (clean - atlas.mean) / atlas.deviation
        times = random_times(batch, generator)
        angle = schedule(times[:, None, None, None, None].to(data), atlas.share)
        start = self._noise(data.shape, generator)
        mixed = rotated(data, start, angle)
        found = self._coarse_says(mixed, angle, times, hidden(persons, generator), known)
        return functional.mse_loss(found, target_of(data, start, angle, plan.target))

    def _coarse_given(self, voxels: Voxels, masks: Voxels) -> Float[Tensor, "batch 2 d h w"]:
        """`coarse_given`, less the atlas and in units of its deviation where anything is known."""
        atlas = self.coarse_atlas
        given = coarse_given(voxels, masks, self.plan.coarse_factor)
        mean, share = given[:, :1], given[:, 1:]
        apart = ((mean - atlas.mean) / atlas.deviation).clamp(-_FARTHEST, _FARTHEST)
        return torch.cat([torch.where(share > 0, apart, 0.0), share], dim=1)

    def _coarse_says(
        self, mixed: Tensor, angle: Tensor, times: Tensor, persons: Persons, known: Tensor
    ) -> Tensor:
        """What follows from the covariance, and what the network adds to it."""
        data, noise = self.gaussian.expected(mixed, angle, known)
        values = torch.cat([_signed(times)[:, None].to(persons.device), persons], dim=1)
        maps = torch.cat([mixed, known, data], dim=1)
        added: Tensor = self.coarse(maps, values.to(self.device))
        return target_of(data, noise, angle, self.plan.target) + added

    def _told_slab(
        self, times: Tensor, persons: Persons, sureness: Tensor, places: Tensor, plane: Plane
    ) -> Float[Tensor, "batch condition"]:
        planes = torch.eye(len(Plane))[plane.axis].expand(len(times), -1)
        numbers = torch.stack([_signed(times), sureness / _CONTEXT_NOISE, places], dim=1)
        return torch.cat([numbers, persons.cpu(), planes], dim=1).to(self.device)

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Drawn on the CPU, so that every device sees the same."""
        return torch.randn(shape, generator=generator).to(self.device)


class _Told(nn.Module):
    """A network and the embedding of its conditions; inputs are padded to sizes that it takes."""

    def __init__(self, network: SlabNetwork | UNet, *, conditions: int) -> None:
        super().__init__()
        self.embedding = ConditionEmbedding(conditions, network.plan.embedding)
        self.network = network

    def forward(self, maps: Tensor, values: Tensor) -> Tensor:
        """What the network says, of the size of `maps`."""
        sizes = maps.shape[2:]
        ends = ends_to_multiples(sizes, self.network.plan.factors)
        if any(ends):
            maps = functional.pad(maps, ends, mode="replicate")
        found: Tensor = self.network(maps, self.embedding(values))
        whole = (slice(None),) * (found.ndim - len(sizes))
        return found[(*whole, *(slice(size) for size in sizes))]


def coarse_of(volumes: Float[Tensor, "batch 1 depth height width"], factor: int) -> Tensor:
    """Means of blocks of voxels; blocks at the end may be smaller."""
    return functional.avg_pool3d(volumes, factor, ceil_mode=True)


def coarse_given(voxels: Voxels, masks: Voxels, factor: int) -> Float[Tensor, "batch 2 d h w"]:
    """Mean of the known voxels of each block (zero if there are none), and their share."""
    share = coarse_of(masks[:, None], factor)
    mean = coarse_of((voxels * masks)[:, None], factor) / share.clamp_min(1e-6)
    return torch.cat([mean, share], dim=1)


def refined(coarse: Coarse, plan: JointPlan) -> Voxels:
    """The coarse volume at full size, trilinear."""
    size = [plan.coarse_factor * length for length in coarse.shape[1:]]
    large = functional.interpolate(coarse[:, None], size=size, mode="trilinear")[:, 0]
    depth, height, width = plan.shape
    return large[:, :depth, :height, :width]


def place(start: int, thickness: int, slices: int) -> float:
    """Where the middle of a slab lies along its plane's axis, from -1 to 1."""
    return (2 * start + thickness - slices) / slices


def slab_maps(
    shown: Tensor, known: Tensor, around: Tensor, deviation: Tensor, angle: Tensor
) -> tuple[Tensor, ...]:
    """What the slab network sees of each voxel.

    Beside the noisy or given value in units of the atlas' deviation, the mask and what is expected
    there stand the intensity that the value amounts to, which tells tissues apart, and the unit.
    """
    told = torch.where(known > 0, 1.0, angle.sin())
    return shown, known, around, around + deviation * told * shown, deviation


def masked_error(found: Tensor, wanted: Tensor, known: Tensor) -> Float[Tensor, ""]:
    """Mean squared error over the voxels that are not given."""
    missing = 1 - known
    return ((found - wanted).square() * missing).sum() / missing.sum().clamp_min(1)


def _signed(times: Tensor) -> Tensor:
    return 2 * times - 1
