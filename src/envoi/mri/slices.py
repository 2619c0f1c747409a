"""cDPM's network: a 2D U-Net for a window of slices that attend to one another.

Doi 10.1007/978-3-031-43993-3_2. Every slice of the window passes the same U-Net; at the coarse
levels each place attends first to the same place in all slices of the window, led by how far
apart the slices lie, and then to all places of its own slice.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from envoi.errors import Problem, SettingsError
from envoi.mri.choices import check_multiples

# Channels and sizes change on the way.
Maps = Float[Tensor, "image _ _ _"]
Numbers = Int[Tensor, "window slot"]
_GROUPS, _IN_GROUP = 32, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicesPlan:
    """Shape of the network; the defaults are the paper's, for 128 pixels.

    Attributes:
        width: Channels of the finest level; a multiple of 16.
        multipliers: Of the width at each level.
        blocks: Residual blocks of a level on the way down; one more on the way up.
        attention: Levels that attend, beside the middle.
        heads: Of every attention; a divisor of the width.

    Raises:
        SettingsError: A width or a number of blocks or heads is none, or a level is not there.
    """

    width: int = 128
    multipliers: tuple[int, ...] = (1, 1, 2, 3, 4)
    blocks: int = 2
    attention: tuple[int, ...] = (3, 4)
    heads: int = 4

    def __post_init__(self) -> None:
        check_multiples("width", [self.width], 16)
        check_multiples("multipliers", self.multipliers, 1)
        check_multiples("blocks", [self.blocks], 1)
        check_multiples("heads", [self.heads], 1)
        check_multiples("width", [self.width], self.heads)
        if absent := set(self.attention) - set(range(len(self.multipliers))):
            expected, found = f"levels below {len(self.multipliers)}", f"{sorted(absent)}"
            raise SettingsError(Problem(expected, found, "attention", "Correct attention."))

    @property
    def told(self) -> int:
        """Width of the embedding of time."""
        return 4 * self.width

    @property
    def groups(self) -> int:
        """Of each normalisation: 32 as published; fewer where they would have fewer channels."""
        return min(_GROUPS, self.width // _IN_GROUP)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How the images of a batch make up windows.

    Attributes:
        slots: `(window, slot)`, the image in each slot; empty slots repeat image 0.
        filled: Which slots hold one.
        homes: `(image,)`, the slot of each image, counted over all windows.
        distances: `(window, slot, slot, 3)`: ln(1 + ahead), ln(1 + behind), whether it is itself.
        told: `(window, told)`, the embedding of time.
    """

    slots: Numbers
    filled: Bool[Tensor, "window slot"]
    homes: Int[Tensor, " image"]
    distances: Float[Tensor, "window slot other 3"]
    told: Float[Tensor, "window told"]

    @property
    def window_of(self) -> Int[Tensor, " image"]:
        """The window of each image."""
        return self.homes // self.slots.shape[1]


def distances(numbers: Numbers) -> Float[Tensor, "window slot other 3"]:
    """From slice numbers; see `Layout`."""
    apart = (numbers[:, :, None] - numbers[:, None, :]).float()
    ahead, behind = apart.clamp_min(0).log1p(), (-apart).clamp_min(0).log1p()
    return torch.stack([ahead, behind, (apart == 0).float()], dim=-1)


class SlicesNetwork(nn.Module):
    """Predicts the noise of every slice of every window; two channels in, one out."""

    def __init__(self, plan: SlicesPlan) -> None:
        super().__init__()
        self.plan = plan
        widths = [plan.width * multiplier for multiplier in plan.multipliers]
        self.time = nn.Sequential(
            nn.Linear(plan.width, plan.told), nn.SiLU(), nn.Linear(plan.told, plan.told)
        )
        self.enter = nn.Conv2d(2, plan.width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        kept, now = [plan.width], plan.width
        for level, width in enumerate(widths):
            for _ in range(plan.blocks):
                self.down.append(_Stage(plan, now, width, attends=level in plan.attention))
                now = width
                kept.append(now)
            if level + 1 < len(widths):
                self.down.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                kept.append(now)
        self.middle = nn.ModuleList(
            [_Stage(plan, now, now, attends=True), _Stage(plan, now, now, attends=False)]
        )
        for level, width in reversed(list(enumerate(widths))):
            for number in range(plan.blocks + 1):
                grows = level > 0 and number == plan.blocks
                joined = now + kept.pop()
                attends = level in plan.attention
                self.up.append(_Stage(plan, joined, width, attends=attends, grows=grows))
                now = width
        self.leave = nn.Sequential(
            nn.GroupNorm(plan.groups, now), nn.SiLU(), nn.Conv2d(now, 1, 3, padding=1)
        )
        for parameter in self.leave[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, images: Maps, layout: Layout) -> Maps:
        """The predicted noise of each image; sizes are multiples of 2^(levels - 1)."""
        maps = self.enter(images)
        kept = [maps]
        for part in self.down:
            maps = part(maps, layout) if isinstance(part, _Stage) else part(maps)
            kept.append(maps)
        for stage in self.middle:
            maps = stage(maps, layout)
        for stage in self.up:
            maps = stage(torch.cat([maps, kept.pop()], dim=1), layout)
        left: Tensor = self.leave(maps)
        return left

    def told(self, times: Int[Tensor, " window"]) -> Float[Tensor, "window told"]:
        """The embedding of a discrete time for each window."""
        half = self.plan.width // 2
        order = torch.arange(half, device=times.device) / half
        waves = times[:, None].float() * torch.pow(1e-4, order)
        vector: Tensor = self.time(torch.cat([waves.cos(), waves.sin()], dim=1))
        return vector


class _Stage(nn.Module):
    """A residual block, attention across slices and within them, perhaps twice the size."""

    def __init__(
        self, plan: SlicesPlan, inputs: int, outputs: int, *, attends: bool, grows: bool = False
    ) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.GroupNorm(plan.groups, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.scaled = nn.Sequential(nn.SiLU(), nn.Linear(plan.told, 2 * outputs))
        self.norm = nn.GroupNorm(plan.groups, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.across = AcrossSlices(plan, outputs) if attends else None
        self.within = WithinSlice(plan, outputs) if attends else None
        self.grow = nn.Conv2d(outputs, outputs, 3, padding=1) if grows else None

    def forward(self, maps: Maps, layout: Layout) -> Maps:
        told = self.scaled(layout.told)[layout.window_of][:, :, None, None]
        scale, shift = told.chunk(2, dim=1)
        inner = self.norm(self.first(maps)) * (1 + scale) + shift
        maps = self.skip(maps) + self.second(functional.silu(inner))
        if self.across is not None and self.within is not None:
            maps = self.within(self.across(maps, layout))
        if self.grow is not None:
            maps = self.grow(functional.interpolate(maps, scale_factor=2.0))
        return maps


class AcrossSlices(nn.Module):
    """Attention of each place over the slices of its window, with relative positions.

    Positions enter queries, keys and values (arXiv:2205.11495, section 4.3): a small network turns
    the distance of two slices and the time into vectors r; the score of slices i and j is
    (q_i k_j + q_i r^k_ij + k_j r^q_ij) / sqrt(c), the answer sum_j a_ij (v_j + r^v_ij).
    """

    def __init__(self, plan: SlicesPlan, width: int) -> None:
        super().__init__()
        self.heads = plan.heads
        self.norm = nn.GroupNorm(plan.groups, width)
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)
        self.apart = nn.ModuleList(_Apart(plan, width) for _ in range(3))

    def forward(self, maps: Maps, layout: Layout) -> Maps:
        """The maps, and what each place hears from the other slices."""
        places = self.norm(maps).flatten(2).permute(0, 2, 1)  # image place channel
        parts = self.ask(places)[layout.slots]  # window slot place 3*channel
        split = parts.unflatten(-1, (3, self.heads, -1)).permute(3, 0, 2, 4, 1, 5)
        query, key, value = split  # window place head slot channel
        near_query, near_key, near_value = (
            part(layout.distances, layout.told).unflatten(-1, (self.heads, -1))
            for part in self.apart
        )  # window slot other head channel
        score = query @ key.transpose(-1, -2)
        score = score + torch.einsum("wphic,wijhc->wphij", query, near_key)
        score = score + torch.einsum("wphjc,wijhc->wphij", key, near_query)
        score = score / query.shape[-1] ** 0.5
        score = score.masked_fill(~layout.filled[:, None, None, None, :], float("-inf"))
        weights = score.softmax(dim=-1)
        mixed = weights @ value + torch.einsum("wphij,wijhc->wphic", weights, near_value)
        answered = self.answer(mixed.permute(0, 3, 1, 2, 4).flatten(3)).flatten(0, 1)[layout.homes]
        heard: Tensor = answered.permute(0, 2, 1).reshape(maps.shape)
        return maps + heard


class WithinSlice(nn.Module):
    """Attention of each place over all places of its slice."""

    def __init__(self, plan: SlicesPlan, width: int) -> None:
        super().__init__()
        self.heads = plan.heads
        self.norm = nn.GroupNorm(plan.groups, width)
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(self, maps: Maps) -> Maps:
        """The maps, and what each place hears from its own slice."""
        places = self.norm(maps).flatten(2).permute(0, 2, 1)
        split = self.ask(places).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*split)
        answered = self.answer(mixed.transpose(1, 2).flatten(2))
        heard: Tensor = answered.permute(0, 2, 1).reshape(maps.shape)
        return maps + heard


class _Apart(nn.Module):
    """From how far apart two slices lie, and the time, to a vector; zero at the start."""

    def __init__(self, plan: SlicesPlan, width: int) -> None:
        super().__init__()
        self.distance = nn.Linear(3, width)
        self.time = nn.Linear(plan.told, width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, distance: Tensor, told: Tensor) -> Tensor:
        mixed = self.distance(distance) + self.time(told)[:, None, None]
        vector: Tensor = self.out(functional.silu(mixed))
        return vector
