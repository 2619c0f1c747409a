"""Inversion: images that teachers recognise, found by gradient descent on their pixels.

FedISCA's synthesis (MICCAI 2023, doi 10.1007/978-3-031-43895-0_49), which follows
DeepInversion (arXiv:1912.08795): from noise, in T steps of Adam, towards the wanted classes and
the batch-norm statistics of all sites at once. It never reads the student.

Memory: the activations of one teacher's forward pass times the number of teachers, and three
copies of the images; flat in the number of steps.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from envoi.checkpoint import State, optimiser_state, restore_optimiser
from envoi.networks.classifier import batch_norm_layers
from envoi.server.synthesis.losses import total_variation
from envoi.server.synthesis.scene import Scene
from envoi.server.synthesis.view import view_of
from envoi.server.teacher import Teachers
from envoi.settings import Budget
from envoi.transforms import jitter

Images = Float[Tensor, "batch channel height width"]


class Inversion:
    """One batch of images on its way from noise to realistic; each outer epoch has its own.

    Args:
        teachers: Frozen; they are read and not changed.
        budget: Steps, rates and weights of the terms.
        generator: Draws the noise and the shifts.
    """

    lasting = False

    def __init__(self, teachers: Teachers, budget: Budget, generator: torch.Generator) -> None:
        spec = teachers.image
        size = (budget.batch_size, spec.channels, spec.size_px, spec.size_px)
        device = teachers.device
        noise = torch.randn(size, generator=generator).to(device)
        self.images = noise.contiguous(memory_format=torch.channels_last).requires_grad_()
        self.targets = cycling_targets(budget.batch_size, len(teachers.class_names)).to(device)
        self.optimiser = torch.optim.Adam([self.images], lr=budget.pixel_rate)
        self._view = view_of(teachers)
        layers = sum(len(batch_norm_layers(member.network)) for member in teachers.members)
        # R is the sum over sites and layers, or its mean (zero without batch norm).
        self._parts = max(layers, 1) if budget.statistics_mean else 1
        self._budget = budget
        self._generator = generator

    def advance(self) -> tuple[Images, dict[str, Tensor]]:
        """One step: the images after it (not shifted, own storage), and the loss terms.

        L = CE(F(x~), y) + w_tv TV(x~) + w_r R(x~), F the mean of the sites' logits and x~ the
        shifted images (METHODS section 2).
        """
        shifted = jitter(self.images, self._budget.jitter_px, self._generator)
        logits, distances = self._view(shifted)
        terms = {
            "class_loss": functional.cross_entropy(logits.mean(dim=0), self.targets),
            "variation": total_variation(shifted),
            "statistics": distances.sum() / self._parts,
        }
        loss = (
            self._budget.class_weight * terms["class_loss"]
            + self._budget.variation_weight * terms["variation"]
            + self._budget.statistics_weight * terms["statistics"]
        )
        (self.images.grad,) = torch.autograd.grad(loss, [self.images])
        self.optimiser.step()
        return self.images.detach().clone(), {name: term.detach() for name, term in terms.items()}

    def state(self) -> State:
        """All that `advance` changes, but for the generator."""
        adam = {f"adam.{key}": value for key, value in optimiser_state(self.optimiser).items()}
        return {"images": self.images.detach(), **adam}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state` taken between two steps."""
        with torch.no_grad():
            self.images.copy_(state["images"])
        adam = {k.removeprefix("adam."): v for k, v in state.items() if k.startswith("adam.")}
        restore_optimiser(self.optimiser, adam)


def inversion(scene: Scene) -> Inversion:
    """Start from noise; the student is not looked at."""
    return Inversion(scene.teachers, scene.budget, scene.generator)


def cycling_targets(batch_size: int, classes: int) -> Int[Tensor, " batch"]:
    """0, 1, ..., classes-1, 0, 1, ...: every class as often as any other, up to one."""
    return torch.arange(batch_size) % classes
