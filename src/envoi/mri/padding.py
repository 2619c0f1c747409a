"""Sizes that a network takes: how much is missing at the end of each axis."""

from collections.abc import Sequence


def ends_to_multiples(sizes: Sequence[int], factor: int) -> list[int]:
    """What `torch.nn.functional.pad` wants, so that all sizes become multiples of `factor`.

    Args:
        sizes: Of the last axes, in their order.
        factor: What the network halves away.
    """
    return [end for size in reversed(sizes) for end in (0, -size % factor)]
