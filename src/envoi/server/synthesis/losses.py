"""What makes a synthetic image good: its class, its smoothness, its statistics."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from envoi.errors import Problem, ShapeError
from envoi.networks.statistics import ChannelStats


def total_variation(images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, ""]:
    """Sum of four Frobenius norms of neighbour differences, over the whole batch.

    Horizontal, vertical and both diagonals, not squared and not averaged (arXiv:1912.08795, as
    released): doubling a batch by copies multiplies it by the square root of two.
    """
    differences = (
        images[..., :, 1:] - images[..., :, :-1],
        images[..., 1:, :] - images[..., :-1, :],
        images[..., 1:, 1:] - images[..., :-1, :-1],
        images[..., 1:, :-1] - images[..., :-1, 1:],
    )
    return torch.stack([difference.norm() for difference in differences]).sum()


def statistics_loss(
    seen: Sequence[ChannelStats], stored: Sequence[ChannelStats]
) -> Float[Tensor, ""]:
    """Distance between the statistics a synthetic batch causes and those a site stored.

    Sum over layers of ||mean - mean*|| + ||var - var*|| (arXiv:1912.08795, eq. 4). Zero when
    every layer matches.

    Args:
        seen: Statistics of the current batch, input order.
        stored: Running statistics from the site's submission, same order.

    Raises:
        ShapeError: The two differ in layer count, or in channels at some layer.
    """
    shapes = [[len(stats.mean) for stats in side] for side in (seen, stored)]
    if shapes[0] != shapes[1]:
        raise ShapeError(
            Problem(
                f"layers of {shapes[1]} channels",
                f"{shapes[0]}",
                "statistics",
                "Compare statistics of one network only.",
            )
        )
    distances = [
        (a.mean - b.mean).norm() + (a.variance - b.variance).norm()
        for a, b in zip(seen, stored, strict=True)
    ]
    return torch.stack(distances).sum() if distances else torch.zeros(())
