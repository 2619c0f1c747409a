"""Scenes and jobs of few steps, for the tests of generators, their losses and Co-Boosting."""

import torch

from envoi.networks import build
from envoi.seeding import torch_generator
from envoi.server.methods.job import Job
from envoi.server.synthesis.scene import Scene
from envoi.server.teacher import mean_logits
from envoi.settings import Budget

BUDGET = Budget(outer_epochs=2, synthesis_steps=4, batch_size=6, student_rate=0.01)


def new_student():
    return build("resnet10-small", channels=3, classes=3, seed=0)


def scene_of(teachers, **changes):
    given = {
        "student": new_student().train(),
        "weighting": mean_logits,
        "budget": BUDGET,
        "generator": torch.Generator().manual_seed(4),
    }
    return Scene(teachers, **{**given, **changes})


def job_of(method, teachers, budget=BUDGET):
    return Job(method, teachers, new_student(), budget, torch.Generator().manual_seed(0))


def run(job):
    """All steps of a job, one synthesis step and one student step each."""
    while job.epoch < BUDGET.outer_epochs:
        for images, terms in job.path():
            terms["distillation"] = job.learn(images)
            yield images, job.finish_step(terms)


def some_logits(name, *shape):
    return 3 * torch.randn(*shape, generator=torch_generator(0, name))
