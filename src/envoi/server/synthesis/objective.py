"""What a generator is trained for: the terms of each paper and their published weights."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from envoi.server.synthesis.answer_losses import (
    activation_loss,
    adversarial_loss,
    boundary_loss,
    hard_sample_loss,
    information_loss,
    one_hot_loss,
)
from envoi.server.synthesis.scene import Scene, Terms

Images = Float[Tensor, "batch channel height width"]
Targets = Int[Tensor, " batch"]
Loss = Float[Tensor, ""]
# The loss of generated images, with a gradient for them, and its terms: neither weighted nor
# differentiated.
Objective = Callable[[Scene, Images, Targets], tuple[Loss, Terms]]


@dataclass(frozen=True, slots=True)
class ResponseObjective:
    """DAFL: L = L_oh + alpha L_a + beta L_ie (arXiv:1904.01186); it wants no class.

    With several teachers, classes are those of their one answer F and the activation term is the
    mean over sites, each with its own features (the paper has a single teacher).

    Attributes:
        one_hot_weight: Of the cross-entropy to the most probable class.
        activation_weight: Alpha, of the L1 norm of the features.
        information_weight: Beta, of the entropy of the mean prediction.
    """

    one_hot_weight: float = 1.0
    activation_weight: float = 0.1
    information_weight: float = 5.0

    def __call__(self, scene: Scene, images: Images, targets: Targets) -> tuple[Loss, Terms]:  # noqa: ARG002
        """See `Objective`."""
        networks = [member.network for member in scene.teachers.members]
        features = [network.features(images) for network in networks]
        heads = zip(networks, features, strict=True)
        logits = scene.combined(torch.stack([network.fc(own) for network, own in heads]))
        terms = {
            "class_loss": one_hot_loss(logits),
            "activation": torch.stack([activation_loss(own) for own in features]).mean(),
            "information": information_loss(logits),
        }
        loss = (
            self.one_hot_weight * terms["class_loss"]
            + self.activation_weight * terms["activation"]
            + self.information_weight * terms["information"]
        )
        return loss, _read(terms)


@dataclass(frozen=True, slots=True)
class BoundaryObjective:
    """DENSE: L = L_CE + lambda_1 L_BN + lambda_2 L_div (arXiv:2112.12371, eq. 5).

    Attributes:
        class_weight: Of the cross-entropy to the wanted classes.
        statistics_weight: Lambda_1, of the batch-norm statistics: the sum over layers, the mean
            over sites.
        boundary_weight: Lambda_2, of the divergence where student and teachers disagree.
    """

    class_weight: float = 1.0
    statistics_weight: float = 1.0
    boundary_weight: float = 0.5

    def __call__(self, scene: Scene, images: Images, targets: Targets) -> tuple[Loss, Terms]:
        """See `Objective`."""
        sites, distances = scene.view(images)
        logits = scene.combined(sites)
        terms = {
            "class_loss": functional.cross_entropy(logits, targets),
            "statistics": distances.mean(),
            "boundary": boundary_loss(logits, scene.student_answers(images)),
        }
        loss = (
            self.class_weight * terms["class_loss"]
            + self.statistics_weight * terms["statistics"]
            + self.boundary_weight * terms["boundary"]
        )
        return loss, _read(terms)


@dataclass(frozen=True, slots=True)
class HardSampleObjective:
    """Co-Boosting: L = L_H + beta L_A (arXiv:2402.15070); it needs no batch norm.

    Attributes:
        hard_weight: Of the cross-entropy in which hard images count more.
        adversarial_weight: Beta, of the divergence of student and teachers.
    """

    hard_weight: float = 1.0
    adversarial_weight: float = 1.0

    def __call__(self, scene: Scene, images: Images, targets: Targets) -> tuple[Loss, Terms]:
        """See `Objective`."""
        networks = [member.network for member in scene.teachers.members]
        logits = scene.combined(torch.stack([network(images) for network in networks]))
        terms = {
            "class_loss": hard_sample_loss(logits, targets),
            "adversarial": adversarial_loss(logits, scene.student_answers(images)),
        }
        loss = (
            self.hard_weight * terms["class_loss"] + self.adversarial_weight * terms["adversarial"]
        )
        return loss, _read(terms)


def _read(terms: Terms) -> Terms:
    return {name: term.detach() for name, term in terms.items()}
