"""Discrete diffusion as in DDPM (arXiv:2006.11239): linear betas, noise prediction, 1000 times.

Sampling may skip times (arXiv:2102.09672, section 4: the betas of the times that are left follow
from their cumulative products); the paper's own sampling skips none. The variance of a step is
beta_t where none is skipped, as in the paper. Where some are, it is the posterior's: the betas of
few times are large, and beta_t would leave in the volume the noise that no later step takes away.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

TIMES = 1000


class Diffusion:
    """Betas of the times that are visited, the noisiest last.

    Args:
        visited: How many of the 1000 times, at equal distances.
    """

    def __init__(self, visited: int = TIMES) -> None:
        kept = np.cumprod(1 - np.linspace(1e-4, 0.02, TIMES))
        self.times: NDArray[np.int64] = (
            np.linspace(TIMES - 1, 0, visited).round().astype(np.int64)[::-1].copy()
        )
        self._signal = kept[self.times]
        self._before = np.concatenate([[1.0], self._signal[:-1]])
        self._betas = 1 - self._signal / self._before
        posterior = self._betas * (1 - self._before) / (1 - self._signal)
        self._variances = self._betas if visited == TIMES else posterior

    def noised(
        self, data: Tensor, noise: Tensor, index: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch ..."]:
        """sqrt(a) x_0 + sqrt(1 - a) noise (eq. 4)."""
        signal = torch.from_numpy(self._signal)[index].to(data).reshape(-1, *[1] * (data.ndim - 1))
        mixed: Tensor = signal.sqrt() * data + (1 - signal).sqrt() * noise
        return mixed

    def before(
        self, state: Tensor, predicted: Tensor, index: int, generator: torch.Generator
    ) -> Tensor:
        """x_{t-1} from x_t: x_0 clipped to [-1, 1], the posterior's mean, and its noise."""
        signal, before = float(self._signal[index]), float(self._before[index])
        beta = float(self._betas[index])
        data = ((state - (1 - signal) ** 0.5 * predicted) / signal**0.5).clamp(-1, 1)
        shares = before**0.5 * beta, (1 - beta) ** 0.5 * (1 - before)
        mean: Tensor = (shares[0] * data + shares[1] * state) / (1 - signal)
        if index == 0:
            return mean
        noise: Tensor = torch.randn(state.shape, generator=generator).to(state.device)
        return mean + math.sqrt(self._variances[index]) * noise
