"""Networks that describe slices by 64 numbers, for distances between sets of volumes.

Both are made here, so that no weights of photographs judge brains. `random_conv` is a network as
it was drawn from a fixed seed: it is the same everywhere, and sees textures and edges.
`self_trained` is the same network after it has learnt, on slices of the real training volumes
alone, to tell the plane of a slice, by which quarter turn it was rotated (arXiv:1803.07728) and
where along the volume it lies: it sees anatomy. Distances of two extractors, or of two trainings,
do not compare; equal volumes and seeds train equal extractors.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from envoi.evaluation.arrays import Volumes
from envoi.evaluation.scores import PLANES
from envoi.evaluation.slices import Slices, plane_slices
from envoi.progress import OnStep, ignore_step
from envoi.results import StepInfo
from envoi.seeding import torch_generator

WIDTHS = (16, 32, 64, 64)
FEATURES = WIDTHS[-1]
QUARTERS = 4
PLACE_WEIGHT = 10.0
RATE = 3e-3
BATCH = 64
_PART = 128


class SliceNetwork(nn.Module):
    """Four convolutions, whose maps are averaged into features, and two heads on them."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (1, *WIDTHS[:-1])
        self.layers = nn.ModuleList(
            nn.Conv2d(taken, given, 3, padding=1)
            for taken, given in zip(inputs, WIDTHS, strict=True)
        )
        self.pose = nn.Linear(FEATURES, len(PLANES) * QUARTERS)
        self.place = nn.Linear(FEATURES, len(PLANES))

    def features(
        self, slices: Float[Tensor, "slice 1 side side"]
    ) -> Float[Tensor, "slice feature"]:
        """Averages of the last maps."""
        maps = self.layers[0](slices).relu()
        for layer in self.layers[1:]:
            maps = layer(functional.avg_pool2d(maps, 2)).relu()
        return cast("Tensor", maps.mean(dim=(2, 3)))

    def forward(
        self, slices: Float[Tensor, "slice 1 side side"]
    ) -> tuple[Float[Tensor, "slice pose"], Float[Tensor, "slice plane"]]:
        """Logits of plane and rotation, and the place along the volume if it were of each plane."""
        # Contrast is faint: heads learn quickly from features of variance one.
        features = functional.batch_norm(self.features(slices), None, None, training=True)
        return self.pose(features), self.place(features)


@dataclass(frozen=True, slots=True, eq=False)
class Extractor:
    """Slices to features.

    Attributes:
        name: Stands in every score.
        network: Fixed.
    """

    name: str
    network: SliceNetwork

    def __call__(self, slices: Slices) -> Float[NDArray[np.float32], "_slice _feature"]:
        """The features of each slice; memory is that of 128 slices at a time."""
        with torch.no_grad():
            parts = [
                self.network.features(part[:, None])
                for part in torch.split(torch.from_numpy(slices), _PART)
            ]
        return cast("NDArray[np.float32]", torch.cat(parts).numpy())


def random_conv() -> Extractor:
    """The extractor of a constant seed; nothing trains it."""
    return Extractor("random_conv", _drawn(torch_generator(0, "random_conv")))


def self_trained(
    volumes: Volumes, *, steps: int, seed: int, on_step: OnStep = ignore_step
) -> Extractor:
    """The extractor that learnt plane, rotation and place of slices of `volumes`.

    Args:
        volumes: Real volumes of the training part, never synthetic or held-out ones.
        steps: Of 64 slices each.
        seed: Of the initial weights and of the order of slices.
        on_step: Told about every step.
    """
    draws = torch_generator(seed, "self_trained")
    network = _drawn(draws)
    pixels, planes, positions = _lesson(volumes)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=max(1, steps))
    for step in range(1, steps + 1):
        chosen = torch.randint(len(pixels), (BATCH,), generator=draws)
        turns = torch.randint(QUARTERS, (BATCH,), generator=draws)
        logits, places = network(_rotated(pixels[chosen], turns)[:, None])
        pose_loss = functional.cross_entropy(logits, planes[chosen] * QUARTERS + turns)
        place = places[torch.arange(BATCH), planes[chosen]]
        place_loss = functional.mse_loss(place, positions[chosen])
        optimiser.zero_grad()
        (pose_loss + PLACE_WEIGHT * place_loss).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses = {"pose": pose_loss.item(), "place": place_loss.item()}
        on_step(StepInfo("self_trained", step, steps, losses))
    return Extractor("self_trained", network.requires_grad_(requires_grad=False))


def _drawn(draws: torch.Generator) -> SliceNetwork:
    """A network whose weights are a function of the generator alone."""
    with torch.device("meta"):
        network = SliceNetwork()
    network = network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=draws)
            nn.init.zeros_(cast("Tensor", module.bias))
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    # The first filters start without a mean: they answer to contrast and not to brightness, and
    # so to noise.
    first = cast("nn.Conv2d", network.layers[0]).weight
    with torch.no_grad():
        first -= first.mean(dim=(2, 3), keepdim=True)
    return network


def _lesson(
    volumes: Volumes,
) -> tuple[Float[Tensor, "slice side side"], Int[Tensor, " slice"], Float[Tensor, " slice"]]:
    """All slices with enough brain, with plane and place."""
    sets = [plane_slices(volumes, plane) for plane in PLANES]
    planes = np.repeat(np.arange(len(PLANES)), [len(one.pixels) for one in sets])
    return (
        torch.from_numpy(np.concatenate([one.pixels for one in sets])),
        torch.from_numpy(planes),
        torch.from_numpy(np.concatenate([one.positions for one in sets])),
    )


def _rotated(
    slices: Float[Tensor, "slice side side"], turns: Int[Tensor, " slice"]
) -> Float[Tensor, "slice side side"]:
    """Each slice by its number of quarter turns."""
    every = torch.stack([torch.rot90(slices, turn, (1, 2)) for turn in range(QUARTERS)])
    return every[turns, torch.arange(len(slices))]
