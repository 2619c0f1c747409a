"""The arithmetic of conventional federated learning: average, proximal term, bytes moved."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from envoi.checkpoint import State

_FP32_BYTES = 4


def average(states: Sequence[State], sizes: Sequence[int]) -> State:
    """sum_k (n_k / n) w_k: weights and batch-norm statistics (arXiv:1602.05629, algorithm 1).

    Args:
        states: Of equal networks.
        sizes: Images of each site, n_k.
    """
    shares = [size / sum(sizes) for size in sizes]

    def mean(name: str) -> Tensor:
        kept = states[0][name]
        if not kept.is_floating_point():
            return kept.clone()  # batch norm's counter of batches, which nothing reads
        terms = [share * state[name].double() for share, state in zip(shares, states, strict=True)]
        return torch.stack(terms).sum(dim=0).to(kept.dtype)

    return {name: mean(name) for name in states[0]}


def proximal_term(network: nn.Module, *, start: State, mu: float) -> Float[Tensor, ""]:
    """mu/2 ||w - w_t||^2 over all weights (arXiv:1812.06127, eq. 2).

    Args:
        network: At w.
        start: Its state at the start of the round, w_t.
        mu: 0 or more.
    """
    squares = [(w - start[name]).square().sum() for name, w in network.named_parameters()]
    return mu / 2 * torch.stack(squares).sum()


def bytes_moved(network: nn.Module, *, rounds: int) -> int:
    """Bytes that one site sends and receives in `rounds` rounds: 2 R times the state in fp32.

    In each round a site sends its weights and batch-norm statistics up and receives the average
    of the round, the last one included. The initial model, which all draw from the study's
    seed, is not counted, nor is what any transport adds.
    """
    return 2 * rounds * _FP32_BYTES * _numbers(network)


def averaging_flop(network: nn.Module, *, sites: int) -> float:
    """Operations of one average: two for each number of each site's state."""
    return 2.0 * sites * _numbers(network)


def _numbers(network: nn.Module) -> int:
    return sum(t.numel() for t in network.state_dict().values() if t.is_floating_point())
