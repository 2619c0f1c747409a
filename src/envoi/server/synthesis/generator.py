"""Synthesis by a generator: its weights learn to make images that the teachers recognise.

Two ways to use one, each a settings dataclass that starts a synthesis when called:

- `Continuing` (DAFL, arXiv:1904.01186): one generator for the whole job, new latents each step;
  the student learns from each batch once. Flat in memory.
- `Restarting` (DENSE, arXiv:2112.12371; Co-Boosting, arXiv:2402.15070): rounds of a few steps on
  fresh weights, or from a learned start (arXiv:2112.06253), and fixed, learned latents; the best
  batch of a round joins a pool, from which the student draws as many batches as the round had
  steps. Memory: see `Pool`, and one generator while a round lasts; a learned start is another.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from envoi.checkpoint import State, optimiser_state, pack, restore_module, restore_optimiser, unpack
from envoi.errors import MethodError, Problem
from envoi.networks.generator import LATENT, ImageGenerator, image_generator
from envoi.server.synthesis.inversion import cycling_targets
from envoi.server.synthesis.objective import Objective
from envoi.server.synthesis.pool import Pool
from envoi.server.synthesis.scene import Scene, Terms

Images = Float[Tensor, "batch channel height width"]
Targets = Int[Tensor, " batch"]


@dataclass(frozen=True, slots=True)
class Continuing:
    """One generator, trained step by step until the job ends.

    Attributes:
        objective: What it is trained for.
        rate: Of Adam.
        betas: Of Adam.
    """

    objective: Objective
    rate: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.999)

    def __call__(self, scene: Scene) -> "ContinuingSynthesis":
        """Start with fresh weights."""
        return ContinuingSynthesis(scene, self)


@dataclass(frozen=True, slots=True)
class Restarting:
    """A generator for each round; its images are pooled.

    Its weights are fresh, or with a `start_rate` those of a start that is learned so that few
    steps are enough: after a round the start moves towards the weights that the round ended with
    (Reptile, arXiv:1803.02999, algorithm 1: phi + epsilon (phi~ - phi)).

    Attributes:
        objective: What it is trained for.
        round_steps: Steps of each round; the last one of a job may be shorter.
        pool_batches: Batches that the pool holds at most.
        rate: Of Adam.
        betas: Of Adam.
        start_rate: Epsilon, from 0 to 1; 0 begins every round anew, as DENSE does.

    Raises:
        MethodError: The start rate is another.
    """

    objective: Objective
    round_steps: int = 30
    pool_batches: int = 200
    rate: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.999)
    start_rate: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.start_rate <= 1:
            found, remedy = f"{self.start_rate}", "It is a share of the way."
            raise MethodError(Problem("0 to 1", found, "start_rate", remedy))

    def __call__(self, scene: Scene) -> "RestartingSynthesis":
        """Start with an empty pool."""
        return RestartingSynthesis(scene, self)


class ContinuingSynthesis:
    """See `Continuing`."""

    lasting = True

    def __init__(self, scene: Scene, settings: Continuing) -> None:
        self.network = _fresh(scene)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=settings.rate, betas=settings.betas
        )
        self.targets = _targets(scene)
        self._scene, self._settings = scene, settings

    def advance(self) -> tuple[Images, Terms]:
        """One step: the images before it, as in the released code, and their loss terms."""
        images = self.network(_latents(self._scene))
        loss, terms = self._settings.objective(self._scene, images, self.targets)
        _descend(self.optimiser, loss)
        return images.detach(), terms

    def state(self) -> State:
        """See `Synthesis`."""
        network = pack("network", self.network.state_dict())
        return {**network, **pack("adam", optimiser_state(self.optimiser))}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `Synthesis`."""
        restore_module(self.network, unpack("network", state))
        restore_optimiser(self.optimiser, unpack("adam", state))


class RestartingSynthesis:
    """See `Restarting`. Between two steps it is a pool, and the start where that is learned.

    Attributes:
        pool: What the student draws from.
        rounds: Generators that were trained so far.
        start: Where the next round begins; None if anew.
    """

    lasting = True

    def __init__(self, scene: Scene, settings: Restarting) -> None:
        budget = scene.budget
        steps = budget.outer_epochs * budget.synthesis_steps
        self.targets = _targets(scene)
        self.rounds = 0
        self._unmade, self._undrawn = steps, 0
        self._terms: Terms = {}
        self._scene, self._settings = scene, settings
        batches = min(-(-steps // settings.round_steps), settings.pool_batches)
        self.pool = Pool(scene.teachers.image, batches=batches, batch_size=budget.batch_size)
        self.start = _fresh(scene) if settings.start_rate else None

    def advance(self) -> tuple[Images, Terms]:
        """A batch of the pool, after a round if it is time for one, and that round's terms."""
        if self._undrawn == 0:
            self._undrawn = min(self._settings.round_steps, self._unmade)
            self._unmade -= self._undrawn
            self._play_round(self._undrawn)
        self._undrawn -= 1
        scene = self._scene
        images, targets = self.pool.draw(scene.budget.batch_size, scene.generator)
        self.targets = targets.to(scene.device)
        return images.to(scene.device), dict(self._terms)

    def state(self) -> State:
        """See `Synthesis`."""
        counts = torch.tensor([self.rounds, self._unmade, self._undrawn])
        terms = pack("terms", self._terms)
        start = pack("start", self.start.state_dict()) if self.start else {}
        return {"counts": counts, **terms, **pack("pool", self.pool.state()), **start}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `Synthesis`."""
        self.rounds, self._unmade, self._undrawn = state["counts"].tolist()
        self._terms = unpack("terms", state)
        self.pool.restore(unpack("pool", state))
        if self.start:
            restore_module(self.start, unpack("start", state))

    def _play_round(self, steps: int) -> None:
        """Train a generator and pool its batch of the lowest loss (as released)."""
        scene, settings = self._scene, self._settings
        network = copy.deepcopy(self.start) if self.start else _fresh(scene)
        latents = _latents(scene).requires_grad_()
        optimiser = torch.optim.Adam(
            [*network.parameters(), latents], lr=settings.rate, betas=settings.betas
        )
        targets = _targets(scene)
        lowest, best = float("inf"), torch.empty(0)
        for _ in range(steps):
            images = network(latents)
            loss, terms = settings.objective(scene, images, targets)
            _descend(optimiser, loss)
            reached = float(loss.detach())
            if not len(best) or reached < lowest:
                lowest, best, self._terms = reached, images.detach(), terms
        self.pool.add(best, targets)
        self.rounds += 1
        if self.start:
            _approach(self.start, network, settings.start_rate)


def _fresh(scene: Scene) -> ImageGenerator:
    return image_generator(scene.teachers.image, scene.generator).to(scene.device)


def _targets(scene: Scene) -> Targets:
    """Every class equally often; the papers draw them."""
    classes = len(scene.teachers.class_names)
    return cycling_targets(scene.budget.batch_size, classes).to(scene.device)


def _latents(scene: Scene) -> Float[Tensor, "batch latent"]:
    size = (scene.budget.batch_size, LATENT)
    return torch.randn(size, generator=scene.generator).to(scene.device)


@torch.no_grad()
def _approach(start: ImageGenerator, reached: ImageGenerator, share: float) -> None:
    """Move weights a share of the way; batch norms read the batch, so their averages stay."""
    for from_, to in zip(start.parameters(), reached.parameters(), strict=True):
        from_.lerp_(to, share)


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step; gradients are taken for its parameters alone, so not for the student's."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    optimiser.zero_grad()
    loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
    optimiser.step()
