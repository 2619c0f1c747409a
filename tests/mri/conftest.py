"""Tiny models of tiny volumes."""

import numpy as np
import pytest
import torch

from envoi.mri.joint import JointModel
from envoi.mri.joint_plan import JointPlan
from envoi.mri.paper import PaperModel, PaperPlan
from envoi.mri.population import Population
from envoi.mri.slices import SlicesPlan
from envoi.mri.whole import WholeModel, WholePlan
from envoi.volumes import Grid, Subject, Volume

SHAPE = (12, 14, 10)
PLANS = {
    "joint": JointPlan(shape=SHAPE, thickness=4, overlap=1, widths=(8, 16), blocks=1),
    "joint, flow": JointPlan(
        shape=SHAPE,
        thickness=4,
        overlap=1,
        widths=(8, 16),
        blocks=1,
        target="flow",
    ),
    "paper": PaperPlan(
        shape=SHAPE, network=SlicesPlan(width=32, multipliers=(1, 1), attention=(1,)), slots=6
    ),
    "full3d": WholePlan(shape=SHAPE, widths=(16, 32)),
    "wavelet3d": WholePlan(shape=SHAPE, wavelets=True, widths=(16, 32)),
}
KINDS = {
    "joint": JointModel,
    "joint, flow": JointModel,
    "paper": PaperModel,
    "full3d": WholeModel,
    "wavelet3d": WholeModel,
}


@pytest.fixture(params=list(PLANS))
def plan(request):
    return PLANS[request.param]


@pytest.fixture
def model(request, plan):
    kind = next(KINDS[name] for name, known in PLANS.items() if known is plan)
    return kind(plan)


@pytest.fixture
def joint():
    return JointModel(PLANS["joint"])


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def subjects(count=3):
    """Balls of different brightness, of people of different ages."""
    grids = np.indices(SHAPE).astype(np.float32)
    middle = np.array(SHAPE, dtype=np.float32)[:, None, None, None] / 2
    inside = (((grids - middle) / middle) ** 2).sum(axis=0) < 0.8
    return [
        Subject(
            f"sub-{number:02d}",
            Volume(
                (inside * np.float32(0.4 + 0.1 * number)).astype(np.float32),
                Grid(SHAPE, (4.0, 4.0, 4.0)),
            ),
            30.0 + number,
            "female" if number % 2 else "male",
        )
        for number in range(count)
    ]


def strangers(count):
    """People of different ages, of whom nothing else is alike."""
    voxels = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1)).half()
    return Population(voxels, torch.arange(2.0 * count).reshape(count, 2))


@pytest.fixture
def people():
    return subjects()


@pytest.fixture
def population(people):
    return Population.of(people)
