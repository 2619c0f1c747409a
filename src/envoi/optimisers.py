"""What learns a model's weights: AdamW, and Muon for those that are matrices.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon; arXiv:2502.16982, section 2.2) steps
along the momentum with all its singular values made alike, so that rare directions are learned as
fast as common ones; a convolution's weights are a matrix, an output channel to a row. PyTorch's
own takes no convolutions, and multiplies in bfloat16: where a CPU has AVX2 alone that is many times
slower than this one in single precision.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from envoi.checkpoint import State, optimiser_state, pack, restore_optimiser, unpack

_MOMENTUM = 0.95
_WEIGHT_DECAY = 1e-4
# Below as many rows or columns there are hardly directions to make alike.
_LEAST_SIDE = 8
# Of x -> a x + b x^3 + c x^5, which moves singular values from 0..1 to about 0.7..1.2 in 5 steps.
_QUINTIC, _ITERATIONS = (3.4445, -4.7750, 2.0315), 5
# Root mean square of AdamW's steps in units of its rate (arXiv:2502.16982, section 2.2).
_SIZE = 0.2


class Muon(torch.optim.Optimizer):
    """See the module.

    Args:
        parameters: Tensors of two axes or more; all but the first are one.
        rate: Learning rate, in the same units as AdamW's.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float) -> None:
        super().__init__(parameters, {"lr": rate})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step along each gradient; `closure` is not asked."""
        del closure
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                kept = self.state[weight]
                if not kept:
                    kept["momentum"] = torch.zeros_like(weight)
                kept["momentum"].mul_(_MOMENTUM).add_(weight.grad)
                ahead = (weight.grad + _MOMENTUM * kept["momentum"]).flatten(1)
                rate = group["lr"]
                size = _SIZE * max(ahead.shape) ** 0.5
                weight.mul_(1 - rate * _WEIGHT_DECAY)
                weight.add_(orthogonalised(ahead).reshape(weight.shape), alpha=-rate * size)


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix with all its singular values about 1 (those far below the largest stay less)."""
    a, b, c = _QUINTIC
    upright = matrix.shape[0] > matrix.shape[1]
    wide: Tensor = matrix.T if upright else matrix
    wide = wide / wide.norm().clamp_min(1e-7)
    for _ in range(_ITERATIONS):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide.T if upright else wide


class Optimisers:
    """All that learn a model's weights, as one: AdamW, and Muon for matrices if it has a rate.

    Args:
        model: Whose weights are learned; they stay where they are from then on.
        rate: Of AdamW, at most.
        matrix_rate: Of Muon, at most; 0 leaves matrices to AdamW.
        betas: Of AdamW's two moments.
    """

    def __init__(
        self,
        model: nn.Module,
        rate: float,
        matrix_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        weights = list(model.parameters())
        matrices = [weight for weight in weights if matrix_rate and _is_matrix(weight)]
        taken = {id(weight) for weight in matrices}
        others = [weight for weight in weights if id(weight) not in taken]
        adam = torch.optim.AdamW(others, lr=rate, betas=betas, weight_decay=_WEIGHT_DECAY)
        self.members = (adam, Muon(matrices, matrix_rate)) if matrices else (adam,)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimiser in self.members:
            optimiser.zero_grad(set_to_none=True)

    def step(self, share: float = 1.0) -> None:
        """One step, with this share of the rates."""
        for optimiser in self.members:
            for group in optimiser.param_groups:
                group["lr"] = share * optimiser.defaults["lr"]
            optimiser.step()

    def state(self) -> State:
        """All that `step` changes, but for the weights."""
        return {
            name: value
            for number, optimiser in enumerate(self.members)
            for name, value in pack(f"optimiser-{number}", optimiser_state(optimiser)).items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave.

        Raises:
            KeyError: It is of other optimisers.
        """
        if not any(name.startswith(f"optimiser-{len(self.members) - 1}/") for name in state):
            raise KeyError(f"optimiser-{len(self.members) - 1}")
        for number, optimiser in enumerate(self.members):
            restore_optimiser(optimiser, unpack(f"optimiser-{number}", state))


def _is_matrix(weight: Tensor) -> bool:
    return weight.ndim > 1 and min(weight.flatten(1).shape) >= _LEAST_SIDE
