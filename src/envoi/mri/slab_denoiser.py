"""The fine half of `joint`: a 2D network that denoises a whole volume, slab by slab.

It takes the noisy slab, the given slices with a mask, what a coarse volume and the atlas expect
there and the intensity that they amount to, and is told the plane, the slab's place and how noisy
the coarse volume is. Steps cut the volume along random planes at random shifts and blend overlaps
(`slabs`), so nothing is generated in an order and no border lasts.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.mri.angles import parts, random_times, rotated, schedule, target_of, walk
from envoi.mri.atlas import Atlas
from envoi.mri.choices import below
from envoi.mri.coarse import FARTHEST
from envoi.mri.conditions import hidden
from envoi.mri.given import Given, random_mask
from envoi.mri.joint_plan import JointPlan
from envoi.mri.model import OnSample
from envoi.mri.population import Persons, Voxels
from envoi.mri.slab_network import SlabNetwork, SlabPlan
from envoi.mri.slabs import Plane, cuts, facing, turned_back
from envoi.mri.told import Told, signed

Volume = Float[Tensor, "depth height width"]


class SlabDenoiser(nn.Module):
    """See the module.

    Args:
        plan: Of the joint model.
        checkpointed: Trade time for memory in training.
        slabs_at_once: Slabs of one step that are denoised together when sampling.

    Attributes:
        atlas: Of what coarse volumes miss.
        planes: Along which volumes are cut.
    """

    def __init__(self, plan: JointPlan, *, checkpointed: bool, slabs_at_once: int) -> None:
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
        network = SlabNetwork(slab, checkpointed=checkpointed)
        self.network = Told(network, conditions=2 + 2 + 1 + len(Plane))
        self.atlas = Atlas(plan.shape)

    def loss(
        self,
        volumes: Voxels,
        persons: Persons,
        base: Voxels,
        sureness: Float[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error of the target over missing voxels, of one slab of each volume.

        Args:
            volumes: Real ones.
            persons: Of each.
            base: What is expected of each; lies on the model's device.
            sureness: How noisy that is, 0 to 1.
            generator: Source of all randomness.
        """
        plan, batch, atlas = self.plan, len(volumes), self.atlas
        plane = self.planes[below(len(self.planes), generator)]
        slices = plan.shape[plane.axis]
        masks = torch.stack([random_mask(plan.shape, generator) for _ in range(batch)])
        starts = [below(slices - plan.thickness + 1, generator) for _ in range(batch)]
        clean, known, around, deviation = (
            torch.stack(
                [
                    facing(volume, plane)[start : start + plan.thickness]
                    for volume, start in zip(maps, starts, strict=True)
                ]
            ).to(base.device)
            for maps in (volumes, masks, base, atlas.deviation.expand(batch, -1, -1, -1))
        )
        times = random_times(batch, generator)
        angle = schedule(times[:, None, None, None].to(deviation), deviation / atlas.typical)
        data = ((clean - around) / deviation).clamp(-FARTHEST, FARTHEST)
        noise = torch.randn(data.shape, generator=generator).to(data)
        places = torch.tensor([place(start, plan.thickness, slices) for start in starts])
        told = _told(times, hidden(persons, generator), sureness, places, plane)
        mixed = rotated(data, noise, angle)
        shown = torch.where(known > 0, data, mixed)
        maps = slab_maps(shown, known, around, deviation, angle)
        found: Tensor = self.network(torch.stack(maps, dim=1), told.to(base.device))
        return masked_error(found, target_of(data, noise, angle, plan.target), known)

    def draw(
        self,
        base: Volume,
        person: Persons,
        sureness: float,
        given: Given,
        steps: int,
        generator: torch.Generator,
        on_sample: OnSample,
    ) -> Volume:
        """One volume around what is expected of it, `base`; given voxels are kept."""
        deviation, calls = self.atlas.deviation, 0
        known = ((given.voxels - base) / deviation).clamp(-FARTHEST, FARTHEST)

        def split(state: Tensor, angle: Tensor, time: float) -> tuple[Tensor, Tensor]:
            nonlocal calls
            calls += 1
            on_sample(calls, steps)
            plane = self.planes[below(len(self.planes), generator)]
            shown = torch.where(given.mask > 0, known, state)
            maps = slab_maps(shown, given.mask, base, deviation, angle)
            volumes = [facing(volume, plane) for volume in maps]
            values = (time, person, sureness)
            said = turned_back(self._blended(volumes, plane, values, generator), plane)
            return parts(state, said, angle, self.plan.target)

        start = torch.randn(self.plan.shape, generator=generator).to(base.device)
        drawn = walk(split, start, self.atlas.share, steps)
        volume = (base + deviation * drawn).clamp(-1, 1)
        return torch.where(given.mask > 0, given.voxels, volume)

    def _blended(
        self,
        volumes: list[Tensor],
        plane: Plane,
        values: tuple[float, Persons, float],
        generator: torch.Generator,
    ) -> Float[Tensor, "slice row column"]:
        """What the network says of a whole volume, from all slabs of one cut.

        Args:
            volumes: `slab_maps`, facing the plane.
            plane: Of the cut.
            values: Time, person, and how noisy the coarse volume is.
            generator: Shifts the cut.
        """
        time, person, sureness = values
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
            told = _told(
                torch.full((len(starts),), time),
                person.expand(len(starts), -1),
                torch.full((len(starts),), sureness),
                torch.tensor([place(start, thickness, slices) for start in starts]),
                plane,
            )
            said = self.network(maps, told.to(maps.device))
            for start, own, weight in zip(starts, said, cut.weights[first:], strict=False):
                total[start : start + thickness] += own.to(total) * weight.to(total)[:, None, None]
        return total


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


def _told(
    times: Tensor, persons: Persons, sureness: Tensor, places: Tensor, plane: Plane
) -> Float[Tensor, "batch condition"]:
    planes = torch.eye(len(Plane))[plane.axis].expand(len(times), -1)
    numbers = torch.stack([signed(times), sureness, places], dim=1)
    return torch.cat([numbers, persons.cpu(), planes], dim=1)
