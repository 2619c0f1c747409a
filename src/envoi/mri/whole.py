"""Full 3D baselines on MONAI's network, `DiffusionModelUNet`: voxels, or Haar wavelets of them.

`full3d` denoises all voxels at once. `wavelet3d` denoises the eight bands of one level of the Haar
transform (as WDM-3D does, arXiv:2402.19043), which are half as long along each axis. Both walk the
straight path of flow matching (arXiv:2210.02747, section 4.1, with sigma_min 0): x_t is
t data + (1 - t) noise, and the network learns data - noise. They are told neither age nor sex, and
cannot complete volumes.

Memory: maps of the whole volume live at once (an eighth of them for wavelets).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
from torch import Tensor
from torch.nn import functional

from envoi.mri.angles import random_times
from envoi.mri.choices import check_multiples
from envoi.mri.given import Given
from envoi.mri.model import OnSample, VolumeModel, ignore_sample
from envoi.mri.padding import ends_to_multiples
from envoi.mri.population import Persons, Population, Voxels

Bands = Float[Tensor, "batch _ band_depth band_height band_width"]
# MONAI embeds discrete times.
_TIMES = 1000
_GROUPS, _HEAD_WIDTH = 16, 32
_DETAIL = math.sqrt(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePlan:
    """Shape of the model.

    Attributes:
        shape: Depth, height and width of its volumes.
        wavelets: Whether it denoises wavelet bands.
        widths: Channels of the network's levels; multiples of 16, of the coarsest of 32.
        blocks: Residual blocks of a level.

    Raises:
        SettingsError: A width is none.
    """

    shape: tuple[int, int, int]
    wavelets: bool = False
    widths: tuple[int, ...] = (64, 128, 192)
    blocks: int = 1

    def __post_init__(self) -> None:
        check_multiples("widths", self.widths, _GROUPS)
        check_multiples("widths", self.widths[-1:], _HEAD_WIDTH)
        check_multiples("blocks", [self.blocks], 1)

    @property
    def factor(self) -> int:
        """Lengths of the volume are padded to multiples of this."""
        return int(2 ** (len(self.widths) - 1 + self.wavelets))


class WholeModel(VolumeModel):
    """See the module."""

    def __init__(self, plan: WholePlan) -> None:
        super().__init__()
        self.plan = plan
        bands = 8 if plan.wavelets else 1
        self.network = DiffusionModelUNet(
            spatial_dims=3,
            in_channels=bands,
            out_channels=bands,
            channels=plan.widths,
            attention_levels=[False] * len(plan.widths),
            num_res_blocks=plan.blocks,
            norm_num_groups=_GROUPS,
            num_head_channels=_HEAD_WIDTH,
            use_flash_attention=True,
        )

    def losses(
        self, population: Population, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Mean squared error of the velocity of `batch` volumes."""
        volumes, _ = population.drawn(batch, generator)
        clean = self._bands(volumes.to(self.device))
        noise = torch.randn(clean.shape, generator=generator).to(self.device)
        times = random_times(batch, generator).to(self.device)
        share = times[:, None, None, None, None]
        found = self.network(share * clean + (1 - share) * noise, timesteps=_TIMES * times)
        return {"velocity": functional.mse_loss(found, clean - noise)}

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
        """See `VolumeModel.draw`."""
        self._refuse_given(given, "a 3D baseline")
        shape = self._bands(torch.zeros(1, *self.plan.shape)).shape
        drawn = []
        for _ in range(len(persons)):
            state = torch.randn(shape, generator=generator).to(self.device)
            for step in range(steps):  # Euler
                on_sample(step + 1, steps)
                times = torch.full((1,), _TIMES * step / steps, device=self.device)
                state = state + self.network(state, timesteps=times) / steps
            drawn.append(self._volumes(state)[0])
        return torch.stack(drawn).clamp(-1, 1)

    def _bands(self, volumes: Voxels) -> Bands:
        """What the network sees: padded with background, then perhaps transformed."""
        ends = ends_to_multiples(volumes.shape[1:], (self.plan.factor,) * 3)
        maps = functional.pad(volumes[:, None], ends, value=-1.0)
        return haar(maps) if self.plan.wavelets else maps

    def _volumes(self, bands: Bands) -> Voxels:
        depth, height, width = self.plan.shape
        maps = inverse_haar(bands) if self.plan.wavelets else bands
        return maps[:, 0, :depth, :height, :width]


def haar(maps: Float[Tensor, "batch 1 depth height width"]) -> Bands:
    """One level of the orthonormal Haar transform; the first band are means.

    These alone are divided by sqrt 8, which keeps them within -1..1, the range of the voxels
    (WDM-3D divides by 3). Differences, which are small, keep their size beside the noise.
    """
    bands = maps
    for axis in (2, 3, 4):
        even, odd = bands.unfold(axis, 2, 2).unbind(dim=-1)
        bands = torch.cat([even + odd, even - odd], dim=1) / 2
    return torch.cat([bands[:, :1], _DETAIL * bands[:, 1:]], dim=1)


def inverse_haar(bands: Bands) -> Float[Tensor, "batch 1 depth height width"]:
    """The voxels behind eight bands."""
    maps = torch.cat([bands[:, :1], bands[:, 1:] / _DETAIL], dim=1)
    for axis in (4, 3, 2):
        mean, difference = maps.chunk(2, dim=1)
        pairs = torch.stack([mean + difference, mean - difference], dim=axis + 1)
        maps = pairs.flatten(axis, axis + 1)
    return maps
