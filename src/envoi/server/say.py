"""Whom a teacher listens to: each expert's share of the say on each class.

The consensus is linear in its experts' answers, so what an expert's answer on a class weighs in
the teacher's answer on that class is a number that depends on the counts alone and not on the
image. Where sites look different (`shift`) it is another for each look, and told is the mean over
images of all sites, each of its own site's look. It tells whose word is taken, not whose is right.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.results import CLOSED_FORM, Say
from envoi.server.consensus import Consensus

# The solve's ridge leaves weights of this order to experts that say nothing.
_NOTHING = 1e-3
_DIGITS = 5


def says_of(teacher: nn.Module, sites: Sequence[str]) -> tuple[Say, ...]:
    """The experts of a consensus with their shares; empty for any other teacher.

    Args:
        teacher: What a student learns from.
        sites: Names of the sites whose networks it asks, in their order.
    """
    if not isinstance(teacher, Consensus):
        return ()
    experts = [*sites, *([] if teacher.closed_form is None else [CLOSED_FORM])]
    chances, operators = teacher.by_look()
    by_look = torch.stack([say_shares(operator.cpu()).double() for operator in operators])
    shares = torch.einsum("l,lec->ec", chances.cpu().double(), by_look)
    rows = [[round(share, _DIGITS) for share in row] for row in shares.tolist()]
    return tuple(Say(name, tuple(row)) for name, row in zip(experts, rows, strict=True))


def say_shares(operator: Float[Tensor, "class expert class"]) -> Float[Tensor, "expert class"]:
    """|A[c, k, c]| over its sum over experts k; zero for a class on which nobody has a say.

    Answers on other classes serve to bring the experts to one level and are no say on this one.
    """
    weights = operator.diagonal(dim1=0, dim2=2).abs()
    total = weights.sum(dim=0)
    return torch.where(total > _NOTHING, weights / total.clamp_min(_NOTHING), 0.0)
