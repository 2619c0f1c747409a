"""The fine half of `joint`: a 2D network that denoises a whole volume, slab by slab.

It takes the noisy slab, the given slices with a mask, what a coarse volume and the atlas expect
there and the intensity that they amount to, and is told the plane, the slab's place and how noisy
the coarse volume is. Steps cut the volume along random planes at random shifts and blend overlaps
(`slabs`), so nothing is generated in an order and no border lasts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.mri.agreement import Agreement, painted
from envoi.mri.angles import compared, data_of, noise_of, random_times, rotated, schedule
from envoi.mri.atlas import FARTHEST, Atlas
from envoi.mri.choices import below
from envoi.mri.coarse import Coarse
from envoi.mri.conditioned import Conditioned
from envoi.mri.effects import Effects
from envoi.mri.field import Field
from envoi.mri.given import Given, random_mask
from envoi.mri.joint_plan import JointPlan
from envoi.mri.model import OnSample
from envoi.mri.outline import brain_of
from envoi.mri.population import Persons, Voxels
from envoi.mri.slab_network import SlabNetwork, SlabPlan
from envoi.mri.slabs import Plane, cuts, facing, turned_back
from envoi.mri.solver import walk

Volume = Float[Tensor, "depth height width"]


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What is known of volumes before a slab is looked at.

    Attributes:
        coarse: The coarse volumes; they lie on the model's device, as the base does.
        base: What coarse volumes, atlas, age and sex expect; -1 where there is no brain.
        persons: Of each volume, as far as the network is told.
        doubt: How noisy the coarse volumes are, 0 to 1.
    """

    coarse: Coarse
    base: Voxels
    persons: Persons
    doubt: Float[Tensor, " batch"]


class SlabDenoiser(nn.Module):
    """See the module.

    Args:
        plan: Of the joint model.
        checkpointed: Trade time for memory in training.
        slabs_at_once: Slabs of one step that are denoised together when sampling.

    Attributes:
        atlas: Of what coarse volumes miss.
        effects: Of age and sex on it.
        field: Where there is something to draw.
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
        self.network = Conditioned(network, conditions=2 + 2 + 1 + len(Plane))
        self.atlas = Atlas(plan.shape)
        self.effects = Effects(plan.shape)
        multiple = max(slab.factors)
        self.field = Field(plan.shape, least=plan.thickness, multiple=multiple)

    def loss(
        self, volumes: Voxels, context: Context, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Mean squared error over missing voxels, of one slab of each volume.

        Of the target in training, of v in evaluation, so that targets compare.
        """
        plan, batch, atlas, field = self.plan, len(volumes), self.atlas, self.field
        plane = self.planes[below(len(self.planes), generator)]
        slices = field.sides[plane.axis]
        nothing = plan.nothing_given
        masks = torch.stack(
            [random_mask(plan.shape, generator, nothing=nothing) for _ in range(batch)]
        )
        starts = [below(slices - plan.thickness + 1, generator) for _ in range(batch)]
        clean, known, around, deviation = (
            torch.stack(
                [
                    facing(field.of(volume), plane)[start : start + plan.thickness]
                    for volume, start in zip(maps, starts, strict=True)
                ]
            ).to(context.base.device)
            for maps in (volumes, masks, context.base, atlas.deviation.expand(batch, -1, -1, -1))
        )
        known = torch.maximum(known, 1 - brain_of(around))  # background is given
        times = random_times(batch, generator)
        angle = schedule(times[:, None, None, None].to(deviation), deviation / atlas.typical)
        data = ((clean - around) / deviation).clamp(-FARTHEST, FARTHEST)
        noise = torch.randn(data.shape, generator=generator).to(data)
        places = torch.tensor([place(start, plan.thickness, slices) for start in starts])
        conditions = _conditions(times, context.persons, context.doubt, places, plane)
        mixed = rotated(data, noise, angle)
        shown = torch.where(known > 0, data, mixed)
        maps = slab_maps(shown, known, around, deviation, angle)
        found: Tensor = self.network(torch.stack(maps, dim=1), conditions.to(data.device))
        both = compared(found, mixed, data, noise, angle, plan.target, learning=self.training)
        return masked_error(*both, known)

    def draw(
        self,
        context: Context,
        agreement: Agreement,
        given: Given,
        steps: int,
        generator: torch.Generator,
        on_sample: OnSample,
    ) -> Volume:
        """One volume around its context, which is of one; what is given is kept.

        Background is given.

        Memory: `envoi.mri.joint`.
        """
        field, calls = self.field, 0
        base, deviation, mask = map(field.of, (context.base[0], self.atlas.deviation, given.mask))
        known = ((field.of(given.voxels) - base) / deviation).clamp_(-FARTHEST, FARTHEST)

        def split(state: Tensor, angle: Tensor, time: float) -> tuple[Tensor, Tensor]:
            nonlocal calls
            calls += 1
            on_sample(calls, steps)
            plane = self.planes[below(len(self.planes), generator)]
            shown = torch.where(mask > 0, known, state)
            maps = slab_maps(shown, mask, base, deviation, angle)
            volumes = [facing(volume, plane) for volume in maps]
            said = turned_back(self._blended(volumes, plane, time, context, generator), plane)
            del shown, maps, volumes
            data = data_of(state, said, angle, self.plan.target)
            data = torch.where(mask > 0, known, data)
            data = agreement.moved(data, base, deviation)
            return data, noise_of(state, data, angle)

        share = field.of(self.atlas.share)
        # The noise has no name here, so that it goes once the first step has used it.
        drawn = walk(
            split, torch.randn(field.sides, generator=generator).to(base.device), share, steps
        )
        volume = field.around(painted(base, deviation, drawn))
        return torch.where(given.mask > 0, given.voxels, volume)

    def _blended(
        self,
        volumes: list[Tensor],
        plane: Plane,
        time: float,
        context: Context,
        generator: torch.Generator,
    ) -> Float[Tensor, "slice row column"]:
        """What the network says of all in its field, from all slabs of one cut."""
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
            conditions = _conditions(
                torch.full((len(starts),), time),
                context.persons.expand(len(starts), -1),
                context.doubt.expand(len(starts)),
                torch.tensor([place(start, thickness, slices) for start in starts]),
                plane,
            )
            said = self.network(maps, conditions.to(maps.device))
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
    clear = torch.where(known > 0, 1.0, angle.sin())
    return shown, known, around, around + deviation * clear * shown, deviation


def masked_error(found: Tensor, wanted: Tensor, known: Tensor) -> Float[Tensor, ""]:
    """Mean squared error over the voxels that are not given."""
    missing = 1 - known
    return ((found - wanted).square() * missing).sum() / missing.sum().clamp_min(1)


def _conditions(
    times: Tensor, persons: Persons, doubt: Tensor, places: Tensor, plane: Plane
) -> Float[Tensor, "batch condition"]:
    planes = torch.eye(len(Plane))[plane.axis].expand(len(times), -1)
    numbers = torch.stack([2 * times - 1, doubt, places], dim=1)
    return torch.cat([numbers, persons.cpu(), planes], dim=1)
