"""Sizes that a network takes: how much is missing at the end of each axis."""

from collections.abc import Sequence


def ends_to_multiples(sizes: Sequence[int], factors: Sequence[int]) -> list[int]:
    """What `torch.nn.functional.pad` wants, so that each size becomes a multiple.

    Args:
        sizes: Of the last axes, in their order.
        factors: What the network halves away along each.
    """
    each = [(0, -size % factor) for size, factor in zip(sizes, factors, strict=True)]
    return [end for ends in reversed(each) for end in ends]
