"""Which steps are logged, and that callers hear of all."""

import pytest

from envoi.progress import ignore_step, logged
from envoi.results import RunFolder, StepInfo


@pytest.mark.parametrize(
    ("steps", "every"), [(1, 1), (119, 1), (239, 1), (240, 2), (1000, 8), (6000, 50)]
)
def test_a_phase_leaves_about_120_lines_and_always_its_last(steps, every, tmp_path):
    run, heard = RunFolder(tmp_path), []
    written = []
    run.append_step = lambda info: written.append(info.step)
    tell = logged(run, heard.append)
    for number in range(1, steps + 1):
        tell(StepInfo("fedisca", number, steps, {"loss": 1.0}))
    assert [info.step for info in heard] == list(range(1, steps + 1))
    assert written == sorted({*range(every, steps + 1, every), steps})
    assert len(written) < 240


def test_every_epochs_summary_is_logged(tmp_path):
    run = RunFolder(tmp_path)
    tell = logged(run)
    for number in range(1, 1001):
        tell(StepInfo("north/train", number, 1000, {"loss": 1.0}, 1 + number // 101))
        if number % 101 == 0:
            tell(StepInfo("north/train", number, 1000, {"train_loss": 2.0}, number // 101))
    summaries = [info.step for info in run.steps() if "train_loss" in info.losses]
    assert summaries == list(range(101, 1001, 101))


def test_nobody_listens_by_default():
    assert ignore_step(StepInfo("x", 1, 1, {})) is None
