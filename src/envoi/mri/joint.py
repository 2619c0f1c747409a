"""The `joint` model: one 2D network for slabs of slices, one small 3D network for the whole.

A coarse volume (a quarter of the size along each axis) is drawn by a small 3D flow and gives the
anatomy as a whole. The slab network then denoises all slabs of *one* shared volume at every step:
it takes the noisy slab, the given slices with a mask, and the coarse context as channels, and is
told the plane, the slab's place and how noisy its context is. Steps cut the volume along random
planes at random shifts and blend overlaps (`slabs`), so nothing is generated in an order and no
border lasts. The seed (cDPM, doi 10.1007/978-3-031-43993-3_2) draws slices window after window.

Memory: for sampling, four volumes and one slab's maps; 2D maps are a `1/thickness` of a
3D network's.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from envoi.errors import Problem, SettingsError
from envoi.mri.choices import below
from envoi.mri.conditions import ConditionEmbedding, hidden
from envoi.mri.given import Given, random_mask
from envoi.mri.model import OnSample, VolumeModel, ignore_sample
from envoi.mri.padding import ends_to_multiples
from envoi.mri.paths import Path, PathName, integrate, random_times
from envoi.mri.population import Persons, Population, Voxels
from envoi.mri.slabs import Plane, cuts, facing, turned_back
from envoi.mri.unet import UNet, UNetPlan

Slabs = Float[Tensor, "batch slice row column"]
Coarse = Float[Tensor, "batch coarse_depth coarse_height coarse_width"]

Prediction = Literal["velocity", "data"]

_HIDDEN = 0.1
# Least share of noise in the losses of networks that predict data.
_LEAST_NOISE = 0.05
# Noise on the coarse context: drawn up to the first in training, the second when sampling, so that
# the slab network forgives what the coarse network gets wrong (arXiv:2106.15282, section 4).
_CONTEXT_NOISE = 0.3
_CONTEXT_NOISE_SAMPLING = 0.1
_COARSE_BATCHES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JointPlan:
    """Everything that shapes a joint model.

    Attributes:
        shape: Depth, height and width of its volumes.
        thickness: Slices of a slab.
        overlap: Slices that neighbouring slabs share when sampling.
        widths: Channels of the slab network's levels.
        blocks: Residual blocks of a level.
        coarse_factor: Voxels along an axis that make one coarse voxel.
        coarse_widths: Channels of the coarse network's levels.
        path: From noise to data.
        predicts: What the networks say: the velocity, or the data that it leads to.

    Raises:
        SettingsError: Slabs do not fit the volume.
    """

    shape: tuple[int, int, int]
    thickness: int = 16
    overlap: int = 4
    widths: tuple[int, ...] = (48, 96, 144)
    blocks: int = 2
    coarse_factor: int = 4
    coarse_widths: tuple[int, ...] = (48, 96)
    path: PathName = "flow"
    predicts: Prediction = "velocity"

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
        self.plan, self.slabs_at_once, self.path = plan, slabs_at_once, Path(plan.path)
        self.planes = tuple(Plane)
        self.slab = _Told(
            UNetPlan(
                dimensions=2,
                inputs=3 * plan.thickness,
                outputs=plan.thickness,
                widths=plan.widths,
                blocks=plan.blocks,
            ),
            conditions=2 + 2 + 1 + len(Plane),
            checkpointed=checkpointed,
        )
        self.coarse = _Told(
            UNetPlan(dimensions=3, inputs=3, outputs=1, widths=plan.coarse_widths),
            conditions=1 + 2,
            checkpointed=checkpointed,
        )

    def losses(
        self, population: Population, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """See `VolumeModel.losses`; the coarse network learns from more volumes than the other."""
        return {
            "slab": self._slab_loss(*population.drawn(batch, generator), generator),
            "coarse": self._coarse_loss(
                *population.drawn(_COARSE_BATCHES * batch, generator), generator
            ),
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
        known = coarse_given(given.voxels[None], given.mask[None], self.plan.coarse_factor)
        start = self._noise(known[:, :1].shape, generator)

        def velocity(state: Tensor, time: float) -> Tensor:
            times = torch.full((1,), time)
            return self._as_velocity(self._coarse_says(state, times, told, known), state, times)

        return integrate(velocity, start, steps)[:, 0]

    def _draw_volume(
        self,
        coarse: Coarse,
        told: Persons,
        given: Given,
        steps: int,
        generator: torch.Generator,
        on_sample: OnSample,
    ) -> Float[Tensor, "depth height width"]:
        noise = self._noise(coarse.shape, generator)
        context = refined(coarse + _CONTEXT_NOISE_SAMPLING * noise, self.plan)[0]
        calls = 0

        def velocity(state: Tensor, time: float) -> Tensor:
            nonlocal calls
            calls += 1
            on_sample(calls, steps)
            plane = self.planes[below(len(self.planes), generator)]
            shown = torch.where(given.mask > 0, given.voxels, state)
            volumes = [facing(maps, plane) for maps in (shown, given.mask, context)]
            return turned_back(self._blended(volumes, plane, time, told, generator), plane)

        start = self._noise(self.plan.shape, generator)
        volume = integrate(velocity, start, steps).clamp(-1, 1)
        return torch.where(given.mask > 0, given.voxels, volume)

    def _blended(
        self,
        volumes: list[Tensor],
        plane: Plane,
        time: float,
        told: Persons,
        generator: torch.Generator,
    ) -> Float[Tensor, "slice row column"]:
        """The velocity of a whole volume, from all slabs of one cut."""
        thickness, slices = self.plan.thickness, len(volumes[0])
        stride = thickness - self.plan.overlap
        shift = below(stride, generator)
        cut = cuts(slices, thickness, self.plan.overlap, shift)
        total = torch.zeros_like(volumes[0])
        for first in range(0, len(cut.starts), self.slabs_at_once):
            starts = cut.starts[first : first + self.slabs_at_once]
            shown, known, around = (
                torch.stack([maps[start : start + thickness] for start in starts])
                for maps in volumes
            )
            values = self._told_slab(
                torch.full((len(starts),), time),
                told.expand(len(starts), -1),
                torch.full((len(starts),), _CONTEXT_NOISE_SAMPLING),
                torch.tensor([place(start, thickness, slices) for start in starts]),
                plane,
            )
            found = self._slab_says(shown, known, around, values)
            velocity = self._as_velocity(found, shown, torch.tensor(time))
            for start, own, weight in zip(starts, velocity, cut.weights[first:], strict=False):
                total[start : start + thickness] += own.to(total) * weight.to(total)[:, None, None]
        return total

    def _slab_loss(
        self, volumes: Voxels, persons: Persons, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        plan, batch = self.plan, len(volumes)
        plane = self.planes[below(len(self.planes), generator)]
        slices = plan.shape[plane.axis]
        masks = torch.stack([random_mask(plan.shape, generator) for _ in range(batch)])
        sureness = _CONTEXT_NOISE * torch.rand(batch, generator=generator)
        coarse = coarse_of(volumes[:, None], plan.coarse_factor)[:, 0]
        noise = torch.randn(coarse.shape, generator=generator)
        context = refined(coarse + sureness[:, None, None, None] * noise, plan)
        starts = [below(slices - plan.thickness + 1, generator) for _ in range(batch)]
        clean, known, around = (
            torch.stack(
                [
                    facing(volume, plane)[start : start + plan.thickness]
                    for volume, start in zip(maps, starts, strict=True)
                ]
            ).to(self.device)
            for maps in (volumes, masks, context)
        )
        times = random_times(batch, generator)
        start = self._noise(clean.shape, generator)
        mixed = self.path.mixed(clean, start, times.to(self.device))
        values = self._told_slab(
            times,
            hidden(persons, _HIDDEN, generator),
            sureness,
            torch.tensor([place(start, plan.thickness, slices) for start in starts]),
            plane,
        )
        found = self._slab_says(torch.where(known > 0, clean, mixed), known, around, values)
        found = self._as_velocity(found, mixed, times, least=_LEAST_NOISE)
        wanted = self.path.velocity(clean, start, times.to(self.device))
        return masked_error(found, wanted, known)

    def _coarse_loss(
        self, volumes: Voxels, persons: Persons, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        plan, batch = self.plan, len(volumes)
        masks = torch.stack([random_mask(plan.shape, generator) for _ in range(batch)])
        known = coarse_given(volumes, masks, plan.coarse_factor).to(self.device)
        clean = coarse_of(volumes[:, None], plan.coarse_factor).to(self.device)
        times = random_times(batch, generator)
        start = self._noise(clean.shape, generator)
        mixed = self.path.mixed(clean, start, times.to(self.device))
        told = hidden(persons, _HIDDEN, generator)
        found = self._coarse_says(mixed, times, told, known)
        found = self._as_velocity(found, mixed, times, least=_LEAST_NOISE)
        return functional.mse_loss(found, self.path.velocity(clean, start, times.to(self.device)))

    def _as_velocity(
        self, said: Tensor, mixed: Tensor, times: Tensor, *, least: float = 1e-3
    ) -> Tensor:
        """The velocity that a network's answer stands for."""
        if self.plan.predicts == "velocity":
            return said
        return self.path.towards(mixed, said, times.to(said.device), least=least)

    def _coarse_says(self, mixed: Tensor, times: Tensor, persons: Persons, known: Tensor) -> Tensor:
        values = torch.cat([_signed(times)[:, None].to(persons.device), persons], dim=1)
        found: Tensor = self.coarse(torch.cat([mixed, known], dim=1), values.to(self.device))
        return found

    def _slab_says(self, shown: Slabs, known: Slabs, context: Slabs, values: Tensor) -> Slabs:
        found: Tensor = self.slab(torch.cat([shown, known, context], dim=1), values)
        return found

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
    """A U-Net and the embedding of its conditions; inputs are padded to sizes that it takes."""

    def __init__(self, plan: UNetPlan, *, conditions: int, checkpointed: bool) -> None:
        super().__init__()
        self.embedding = ConditionEmbedding(conditions, plan.embedding)
        self.network = UNet(plan, checkpointed=checkpointed)

    def forward(self, maps: Tensor, values: Tensor) -> Tensor:
        sizes = maps.shape[2:]
        ends = ends_to_multiples(sizes, self.network.plan.factor)
        if any(ends):
            maps = functional.pad(maps, ends, mode="replicate")
        if maps.ndim == 4:
            maps = maps.contiguous(memory_format=torch.channels_last)
        found: Tensor = self.network(maps, self.embedding(values))
        whole = (slice(None), slice(None), *(slice(size) for size in sizes))
        return found[whole]


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


def masked_error(found: Tensor, wanted: Tensor, known: Tensor) -> Float[Tensor, ""]:
    """Mean squared error over the voxels that are not given."""
    missing = 1 - known
    return ((found - wanted).square() * missing).sum() / missing.sum().clamp_min(1)


def _signed(times: Tensor) -> Tensor:
    return 2 * times - 1
