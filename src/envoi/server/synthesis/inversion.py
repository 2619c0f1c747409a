"""Inversion: images that teachers recognise, found by gradient descent on their pixels.

FedISCA's synthesis (MICCAI 2023, doi 10.1007/978-3-031-43895-0_49), which follows
DeepInversion (arXiv:1912.08795): from noise, in T steps of Adam, towards the wanted classes and
the batch-norm statistics of all sites at once. It never reads the student.

With `Budget.coarse_share` the first steps work on images of half the height and width, a quarter
of the synthesis' arithmetic; then they are enlarged and go on with a fresh optimiser. Teachers are
asked about the small images as they are and compared with statistics of whole ones, and the total
variation is that of small ones; the student learns from enlarged ones.

Memory: the activations of one teacher's forward pass times the number of teachers, and three
copies of the images; flat in the number of steps.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from envoi.checkpoint import State, optimiser_state, restore_optimiser
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
        start: Images to begin with in place of noise, of whole size.
        targets: The wanted classes; by default all in turn.
    """

    lasting = False

    def __init__(
        self,
        teachers: Teachers,
        budget: Budget,
        generator: torch.Generator,
        *,
        start: Images | None = None,
        targets: Int[Tensor, " batch"] | None = None,
    ) -> None:
        self.image = teachers.image
        if targets is None:
            targets = cycling_targets(budget.batch_size, len(teachers.class_names))
        self.targets = targets.to(teachers.device)
        self._view = view_of(teachers)
        # R is the sum over sites and layers, or its mean (zero without batch norm).
        self._parts = max(self._view.layers, 1) if budget.statistics_mean else 1
        self._budget = budget
        self._generator = generator
        self._coarse_left = budget.coarse_steps
        side = -(-self.image.size_px // 2) if self._coarse_left else self.image.size_px
        if start is None:
            size = (len(targets), self.image.channels, side, side)
            start = torch.randn(size, generator=generator)
        elif self._coarse_left:
            start = functional.interpolate(start, size=(side, side), mode="area")
        self._begin(start.to(teachers.device, copy=True))

    def whole_images(self) -> Images:
        """The images as they are now, enlarged where they are small yet (own storage)."""
        if not self._small:
            return self.images.detach().clone()
        size = self.image.size_px
        return functional.interpolate(self.images.detach(), size=(size, size), mode="bilinear")

    def advance(self) -> tuple[Images, dict[str, Tensor]]:
        """One step: the images after it (not shifted, whole size), and the loss terms.

        L = CE(F(x~), y) + w_tv TV(x~) + w_r R(x~), F the mean of the sites' logits and x~ the
        shifted images (METHODS section 2).
        """
        if self._small and self._coarse_left == 0:
            self._begin(self.whole_images())
        self._coarse_left = max(self._coarse_left - 1, 0)
        limit_px = self._budget.jitter_px // (2 if self._small else 1)
        shifted = jitter(self.images, limit_px, self._generator)
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
        return self.whole_images(), {name: term.detach() for name, term in terms.items()}

    def state(self) -> State:
        """All that `advance` changes, but for the generator."""
        adam = {f"adam.{key}": value for key, value in optimiser_state(self.optimiser).items()}
        left = torch.tensor(self._coarse_left)
        return {"images": self.images.detach(), "coarse_left": left, **adam}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state` taken between two steps."""
        self._begin(state["images"].to(self.images.device, copy=True))
        self._coarse_left = int(state["coarse_left"])
        adam = {k.removeprefix("adam."): v for k, v in state.items() if k.startswith("adam.")}
        restore_optimiser(self.optimiser, adam)

    @property
    def _small(self) -> bool:
        """Whether the images have yet to be enlarged."""
        return self.images.shape[-1] < self.image.size_px

    def _begin(self, images: Images) -> None:
        """Optimise these from now on."""
        channels_last = images.contiguous(memory_format=torch.channels_last)
        self.images = channels_last.requires_grad_()
        self.optimiser = torch.optim.Adam([self.images], lr=self._budget.pixel_rate)


def inversion(scene: Scene) -> Inversion:
    """Start from noise; the student is not looked at."""
    return Inversion(scene.teachers, scene.budget, scene.generator)


def cycling_targets(batch_size: int, classes: int) -> Int[Tensor, " batch"]:
    """0, 1, ..., classes-1, 0, 1, ...: every class as often as any other, up to one."""
    return torch.arange(batch_size) % classes
