"""One learned weight for each site, in place of a fixed rule to combine their answers.

Co-Boosting (arXiv:2402.15070): F(x) = sum_k w_k f_k(x); w follows the sign of the gradient of the
cross-entropy of F on synthetic images with their wanted classes, at a decaying rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from envoi.checkpoint import State
from envoi.server.teacher import Counts, SiteLogits

SiteWeights = Float[Tensor, " site"]
Targets = Int[Tensor, " batch"]


@dataclass(frozen=True, slots=True)
class LearnedWeights:
    """Settings of the learning.

    Attributes:
        rate: Length of a step of each weight in the first round.
        decay: Of the rate, from round to round.
        round_steps: Steps of a round.
    """

    rate: float = 0.01
    decay: float = 0.99
    round_steps: int = 30

    def __call__(self, sites: int) -> "LearnedWeighting":
        """Start with equal weights."""
        return LearnedWeighting(sites, self)


class LearnedWeighting:
    """A `Weighting` that learns.

    Attributes:
        weights: Of the sites; in [0, 1] and of sum one.
        steps: Taken so far.
    """

    def __init__(self, sites: int, settings: LearnedWeights) -> None:
        self.weights = torch.full((sites,), 1 / sites)
        self.steps = 0
        self._settings = settings

    def __call__(self, logits: SiteLogits, counts: Counts) -> Float[Tensor, "batch class"]:  # noqa: ARG002
        """The weighted sum of logits."""
        return weighted_logits(logits, self.weights.to(logits.device))

    def learn(self, logits: SiteLogits, targets: Targets) -> None:
        """One step on one batch, without gradients for the logits."""
        settings = self._settings
        rate = settings.rate * settings.decay ** (self.steps // settings.round_steps)
        gradient = weight_gradient(logits.detach().cpu(), self.weights, targets.cpu())
        self.weights = projected(self.weights - rate * gradient.sign())
        self.steps += 1

    def state(self) -> State:
        """For a checkpoint."""
        return {"weights": self.weights, "steps": torch.tensor(self.steps)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        self.weights, self.steps = state["weights"], int(state["steps"])


def weighted_logits(logits: SiteLogits, weights: SiteWeights) -> Float[Tensor, "batch class"]:
    """sum_k w_k f_k(x)."""
    return (weights[:, None, None] * logits).sum(dim=0)


def weight_gradient(logits: SiteLogits, weights: SiteWeights, targets: Targets) -> SiteWeights:
    """Of the cross-entropy of the normalised weighted logits, for the weights.

    The normalisation is differentiated. Without it most gradients only ask for larger logits,
    all weights take the same step, and renormalising undoes it.
    """
    variable = weights.detach().clone().requires_grad_()
    # The caller may be inside `no_grad`.
    with torch.enable_grad():
        answers = weighted_logits(logits, variable / variable.sum())
        loss = functional.cross_entropy(answers, targets)
    return torch.autograd.grad(loss, variable)[0]


def projected(weights: SiteWeights) -> SiteWeights:
    """Clamped to [0, 1] and divided by their sum; equal where nothing is left.

    The released code clamps only, so that all weights may grow together and sharpen F. The sum is
    kept at one here: what is learned is who is listened to, and the temperature stays.
    """
    clamped = weights.clamp(0, 1)
    total = clamped.sum()
    return clamped / total if total > 0 else torch.full_like(weights, 1 / len(weights))
