"""The `paper` model: cDPM as published (doi 10.1007/978-3-031-43993-3_2).

Windows of up to 20 axial slices, some known and clean, the others noisy; DDPM on the noisy ones.
A volume is drawn window after window, the last ten slices being known to the next ten. Age and
sex are not told, and slices that a user gives cannot be completed: the paper does neither.

Memory: maps of all slices of a window live at once (119 M parameters at the paper's setting).
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from envoi.mri.choices import check_multiples, check_share
from envoi.mri.diffusion import TIMES, Diffusion
from envoi.mri.given import Given
from envoi.mri.model import OnSample, VolumeModel, ignore_sample
from envoi.mri.padding import ends_to_multiples
from envoi.mri.population import Persons, Population, Voxels
from envoi.mri.slices import Layout, SlicesNetwork, SlicesPlan, distances
from envoi.mri.windows import KNOWN_SHARE, SLOTS, Window, random_window, sampling_windows

Slices = Float[Tensor, "image height width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperPlan:
    """Shape of the model.

    Attributes:
        shape: Depth, height and width of its volumes.
        network: Of the 2D network.
        slots: Slices of a window at the most; even, as half of them condition the other half.
        known_share: How often, in training, a comb of slices is a known one; the paper's is a half.

    Raises:
        SettingsError: The share is none, or there are no such windows.
    """

    shape: tuple[int, int, int]
    network: SlicesPlan = field(default_factory=SlicesPlan)
    slots: int = SLOTS
    known_share: float = KNOWN_SHARE

    def __post_init__(self) -> None:
        check_share("known_share", self.known_share)
        check_multiples("slots", [self.slots], 2)


class PaperModel(VolumeModel):
    """See the module."""

    def __init__(self, plan: PaperPlan) -> None:
        super().__init__()
        self.plan, self.network = plan, SlicesNetwork(plan.network)
        self._diffusion = Diffusion()

    def losses(
        self, population: Population, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Mean squared error of the noise of wanted slices; `batch` windows, one time for each."""
        plan = self.plan
        windows = [
            random_window(plan.shape[0], generator, slots=plan.slots, known_share=plan.known_share)
            for _ in range(batch)
        ]
        return self._losses(population, windows, generator)

    def heaviest_losses(
        self, population: Population, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """`losses` of full windows."""
        full = Window((), tuple(range(min(self.plan.slots, self.plan.shape[0]))))
        return self._losses(population, [full] * batch, generator)

    def _losses(
        self, population: Population, windows: list[Window], generator: torch.Generator
    ) -> dict[str, Tensor]:
        batch = len(windows)
        volumes, _ = population.drawn(batch, generator)
        times = torch.randint(TIMES, (batch,), generator=generator)
        slices, wanted = _cut(volumes, windows)
        noise = torch.randn(slices.shape, generator=generator)
        of_slice = torch.tensor([w for w, own in enumerate(windows) for _ in own.slices])
        noisy = self._diffusion.noised(slices, noise, times[of_slice])
        shown = torch.where(wanted[:, None, None], noisy, slices).to(self.device)
        found = self._predicted(shown, wanted, windows, times)
        error = (found - noise.to(self.device)).square().mean(dim=(1, 2))
        share = wanted / torch.tensor([len(own.wanted) for own in windows])[of_slice]
        return {"noise": (error * share.to(self.device)).sum() / batch}

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
        """See `VolumeModel.draw`; `steps` times are visited for each window (paper: 1000)."""
        self._refuse_given(given, "mode paper")
        diffusion = Diffusion(steps)
        return torch.stack(
            [self._drawn(diffusion, generator, on_sample) for _ in range(len(persons))]
        )

    def _drawn(
        self, diffusion: Diffusion, generator: torch.Generator, on_sample: OnSample
    ) -> Float[Tensor, "depth height width"]:
        volume = torch.zeros(self.plan.shape, device=self.device)
        windows = list(sampling_windows(self.plan.shape[0], slots=self.plan.slots))
        visited, calls = len(diffusion.times), 0
        for window in windows:
            known, wanted = list(window.known), list(window.wanted)
            size = (len(wanted), *self.plan.shape[1:])
            state = torch.randn(size, generator=generator).to(self.device)
            is_wanted = torch.arange(len(window.slices)) >= len(known)
            for index in reversed(range(visited)):
                shown = torch.cat([volume[known], state])
                time = torch.tensor([int(diffusion.times[index])])
                noise = self._predicted(shown, is_wanted, [window], time)[len(known) :]
                state = diffusion.before(state, noise, index, generator)
                calls += 1
                on_sample(calls, visited * len(windows))
            volume[wanted] = state
        return volume.clamp(-1, 1)

    def _predicted(
        self, shown: Slices, wanted: Tensor, windows: list[Window], times: Tensor
    ) -> Slices:
        """The noise of each slice, the slices of all windows one after the other."""
        device, factor = self.device, 2 ** (len(self.plan.network.multipliers) - 1)
        height, width = shown.shape[1:]
        known = (~wanted).to(shown)[:, None, None].expand_as(shown)
        maps = functional.pad(
            torch.stack([shown, known], dim=1),
            ends_to_multiples((height, width), (factor, factor)),
            mode="replicate",
        )
        layout = _layout(windows, self.network.told(times.to(device)))
        noise: Tensor = self.network(maps, layout)[:, 0, :height, :width]
        return noise


def _cut(volumes: Voxels, windows: list[Window]) -> tuple[Slices, Tensor]:
    """The windows' slices one after the other, and which of them are to be found."""
    slices = [volume[list(own.slices)] for volume, own in zip(volumes, windows, strict=True)]
    wanted = [torch.arange(len(own.slices)) >= len(own.known) for own in windows]
    return torch.cat(slices), torch.cat(wanted)


def _layout(windows: list[Window], told: Tensor) -> Layout:
    """The windows' slots, padded to the longest with empty ones."""
    longest = max(len(own.slices) for own in windows)
    slots = torch.zeros(len(windows), longest, dtype=torch.long)
    numbers, filled = torch.zeros_like(slots), torch.zeros_like(slots, dtype=torch.bool)
    homes: list[int] = []
    for row, own in enumerate(windows):
        count = len(own.slices)
        slots[row, :count] = torch.arange(len(homes), len(homes) + count)
        numbers[row, :count] = torch.tensor(own.slices)
        filled[row, :count] = True
        homes += range(row * longest, row * longest + count)
    device = told.device
    return Layout(
        slots.to(device),
        filled.to(device),
        torch.tensor(homes, device=device),
        distances(numbers).to(device),
        told,
    )
