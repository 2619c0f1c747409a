"""What teachers and student answer about synthetic images, as losses of the generator.

Pure functions of logits and features; `F` is the teachers' one answer, `g` the student's.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

Logits = Float[Tensor, "batch class"]
Targets = Int[Tensor, " batch"]
Scalar = Float[Tensor, ""]


def one_hot_loss(logits: Logits) -> Scalar:
    """Cross-entropy to the most probable class: F should be sure of something.

    DAFL, arXiv:1904.01186, L_oh.
    """
    return functional.cross_entropy(logits, logits.detach().argmax(dim=1))


def activation_loss(features: Float[Tensor, "batch feature"]) -> Scalar:
    """Minus the mean absolute feature: real images excite a network more than noise does.

    DAFL, L_a, an L1 norm; averaged over features as in the released code, so that the weight
    does not depend on the network's width.
    """
    return -features.abs().mean()


def information_loss(logits: Logits) -> Scalar:
    """Minus the entropy, in decimal digits, of the mean prediction: all classes equally often.

    DAFL, L_ie = sum_c p_c log10 p_c with p the batch's mean prediction. The paper divides by the
    number of classes and leaves the base open; the published weight belongs to the released
    code, which is followed. Lowest, -log10(classes), when p is uniform.
    """
    # In logarithms: of a mean that rounds to zero, x log x has a value but no gradient.
    log_mean = logits.log_softmax(dim=1).logsumexp(dim=0) - math.log(len(logits))
    return (log_mean.exp() * log_mean).sum() / math.log(10)


def divergences(teacher: Logits, student: Logits) -> Float[Tensor, " batch"]:
    """KL(softmax(F) || softmax(g)) of each image."""
    p, q = teacher.log_softmax(dim=1), student.log_softmax(dim=1)
    return functional.kl_div(q, p, reduction="none", log_target=True).sum(dim=1)


def boundary_loss(teacher: Logits, student: Logits) -> Scalar:
    """Minus the divergence where student and teacher name different classes, else zero.

    DENSE, arXiv:2112.12371, L_div = -omega KL(F || g), omega = 1 where the two disagree: it pulls
    images to the side of the decision boundary that the student has not learned.
    """
    disagree = teacher.argmax(dim=1) != student.argmax(dim=1)
    return -(divergences(teacher, student) * disagree).mean()


def adversarial_loss(teacher: Logits, student: Logits) -> Scalar:
    """Minus the divergence of student and teacher (Co-Boosting, arXiv:2402.15070, L_A)."""
    return -divergences(teacher, student).mean()


def hard_sample_loss(logits: Logits, targets: Targets) -> Scalar:
    """Cross-entropy in which each image counts by how hard it is: 1 - p_y, not differentiated.

    Co-Boosting, arXiv:2402.15070, L_H.
    """
    losses = functional.cross_entropy(logits, targets, reduction="none")
    return ((1 - torch.exp(-losses.detach())) * losses).mean()
