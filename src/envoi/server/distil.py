"""Distillation: a student learns to answer as its teachers do."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from envoi.errors import MethodError, Problem
from envoi.server.teacher import Teachers
from envoi.settings import Budget

Logits = Float[Tensor, "batch class"]


def distillation_loss(
    student_logits: Logits, teacher_logits: Logits, temperature: float
) -> Float[Tensor, ""]:
    """tau^2 KL(softmax(teacher / tau) || softmax(student / tau)), mean over the batch.

    Hinton et al., arXiv:1503.02531.
    """
    target = functional.log_softmax(teacher_logits / temperature, dim=1)
    answer = functional.log_softmax(student_logits / temperature, dim=1)
    divergence = functional.kl_div(answer, target, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def student_optimiser(student: nn.Module, budget: Budget) -> torch.optim.Optimizer:
    """The optimiser that the budget names, over all weights of the student."""
    if budget.student_optimiser == "adam":
        return torch.optim.Adam(
            student.parameters(), lr=budget.student_rate, weight_decay=budget.student_weight_decay
        )
    return torch.optim.SGD(
        student.parameters(),
        lr=budget.student_rate,
        momentum=budget.student_momentum,
        weight_decay=budget.student_weight_decay,
    )


def rate_at(epoch: int, budget: Budget) -> float:
    """The student's learning rate in an outer epoch (from 0): tenfold less at each milestone."""
    passed = sum(epoch >= fraction * budget.outer_epochs for fraction in budget.milestones)
    return budget.student_rate * 0.1**passed


def prepare_student(student: nn.Module, teachers: Teachers, budget: Budget) -> nn.Module:
    """Give the student its start and the mode of its batch norm, in place."""
    if budget.student_start == "average":
        student.load_state_dict(average_state(student, teachers))
    return student.train(budget.student_statistics == "batch")


def average_state(student: nn.Module, teachers: Teachers) -> dict[str, Tensor]:
    """The mean of the sites' weights and statistics, weighted by their numbers of images.

    One-shot federated averaging (arXiv:1602.05629, one round) over the sites whose network is
    the student's. Equal networks give that network back.

    Raises:
        MethodError: No site has the student's architecture.
    """
    wanted = {name: tensor.shape for name, tensor in student.state_dict().items()}
    same = [
        (float(max(sum(member.class_counts), 1)), member.network.state_dict())
        for member in teachers.members
        if {n: t.shape for n, t in member.network.state_dict().items()} == wanted
    ]
    if not same:
        raise MethodError(
            Problem(
                "a site with the student's architecture",
                "none",
                "weight average",
                "Choose a student architecture that a site used, or start from the seed.",
            )
        )
    total = sum(size for size, _ in same)
    return {
        name: torch.stack([state[name].double() * (size / total) for size, state in same])
        .sum(dim=0)
        .to(same[0][1][name].dtype)
        for name in wanted
    }
