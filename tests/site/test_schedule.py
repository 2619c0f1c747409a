import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR, OneCycleLR

from envoi.settings import TrainingSettings
from envoi.site.schedule import learning_rate


def rates(settings, steps):
    total = settings.epochs * steps
    return [learning_rate(settings, step=i, steps_per_epoch=steps) for i in range(total)]


def reference(make, total, stride=1):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler, found = make(optimiser), []
    for step in range(total):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if (step + 1) % stride == 0 and step + 1 < total:
            scheduler.step()
    return found


def test_steps_agree_with_pytorch():
    settings = TrainingSettings(epochs=20, rate=0.4)
    wanted = reference(lambda o: MultiStepLR(o, [10, 15]), 60, stride=3)
    assert rates(settings, 3) == pytest.approx(wanted)


def test_the_papers_milestones_are_epochs_50_and_75():
    found = rates(TrainingSettings(), 1)
    assert [found[i] for i in (0, 49, 50, 74, 75, 99)] == pytest.approx(
        [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    )


@pytest.mark.parametrize("epochs", [1, 2, 5, 12])
def test_one_cycle_agrees_with_pytorch(epochs):
    settings = TrainingSettings(epochs=epochs, rate=0.4, schedule="one-cycle")
    total = 4 * epochs
    wanted = reference(
        lambda o: OneCycleLR(o, max_lr=0.4, total_steps=total, cycle_momentum=False), total
    )
    assert rates(settings, 4) == pytest.approx(wanted)


def test_a_single_step_learns_at_the_full_rate():
    assert rates(TrainingSettings(epochs=1, rate=0.4, schedule="one-cycle"), 1) == [0.4]
