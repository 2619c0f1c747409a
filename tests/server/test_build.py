"""A whole distillation: resumable, bound to its inputs, and a classifier at its end."""

import dataclasses
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from envoi.checkpoint import Checkpoint
from envoi.errors import DataError, MethodError, SettingsError
from envoi.meter import Cost
from envoi.server import build
from envoi.server.build import distil, predict
from envoi.server.methods import fedisca, method_called
from envoi.server.methods.data_free import DataFree
from envoi.server.teacher import Teachers, class_count_weighted
from envoi.settings import Budget
from envoi.study import study_from
from envoi.types import ImageSpec
from tests.conftest import TINY_CLASSES, make_teachers

BUDGET = Budget(outer_epochs=2, synthesis_steps=2, batch_size=6, student_rate=0.01)
TEACHERS = make_teachers()


def study_of(**changes):
    return study_from(
        {
            "name": "Tiny",
            "classes": list(TINY_CLASSES),
            "image": {"channels": 3, "size_px": 8},
            "model": {"architectures": ["resnet10-small", "wrn-16-2"]},
            **changes,
        }
    )


STUDY = study_of()


def run(name="fedisca", method=None, teachers=TEACHERS, **options):
    given = {"study": STUDY, "budget": BUDGET, **options}
    return distil(name, method or fedisca(), teachers, **given)


def same(first, second):
    one, two = first.network.state_dict(), second.network.state_dict()
    return one.keys() == two.keys() and all(one[name].equal(two[name]) for name in one)


def every_step(path, *, fingerprint):
    return Checkpoint(path, fingerprint=fingerprint, every_seconds=0)


@pytest.fixture(scope="module")
def whole():
    """A job that was not killed."""
    return run()


@pytest.fixture(scope="module")
def left_behind(tmp_path_factory):
    """The checkpoint of a job that was killed in its second step."""
    path = tmp_path_factory.mktemp("killed") / "job.checkpoint"

    def kill(info):
        if info.step == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "Checkpoint", every_step)
        with pytest.raises(KeyboardInterrupt):
            run(checkpoint=path, on_step=kill)
    return path


@pytest.fixture
def killed(left_behind, tmp_path):
    return Path(shutil.copy(left_behind, tmp_path))


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), dtype=np.uint8)


def test_a_student_and_what_it_cost(tmp_path, pixels):
    steps = []
    done = run(checkpoint=tmp_path / "job", on_step=steps.append)
    assert [(info.step, info.epoch) for info in steps] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert (done.network.training, type(done.network)) == (False, type(STUDY.network()))
    assert done.flop == fedisca().flop(TEACHERS, STUDY.network(), budget=BUDGET) > 0
    assert (done.iterative, done.seconds > 0) == (True, True)
    assert done.peak_bytes > 0
    assert predict(done.network, pixels, STUDY.image).shape == (10, 3)
    assert not list(tmp_path.iterdir())


def test_equal_inputs_give_equal_bits(whole):
    assert same(run(), whole)


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"name": "other"}, {"study": study_of(seed=3)}],
    ids=["seed", "name", "study"],
)
def test_seed_name_and_study_select_the_student(changes, whole):
    assert not same(run(**changes), whole)


def test_a_killed_job_goes_on_to_the_same_bits_and_its_checkpoint_is_cleared(killed, whole):
    steps = []
    resumed = run(checkpoint=killed, on_step=lambda info: steps.append(info.step))
    assert steps == [3, 4]
    assert same(resumed, whole)
    assert not killed.exists()


def test_seconds_are_those_of_all_attempts(killed, monkeypatch):
    with safe_open(killed, framework="pt") as file:
        before = float(file.metadata()["seconds"])
    assert before > 0
    with monkeypatch.context() as patch:
        patch.setattr(build, "metered", lambda device: nullcontext(Cost(wall_seconds=2.0)))
        resumed = run(checkpoint=killed)
    assert resumed.seconds == before + 2.0


def test_a_loss_that_is_no_longer_finite_ends_the_job(tmp_path):
    budget = dataclasses.replace(BUDGET, student_rate=1e30)
    message = r"fedisca, step \d: expected finite losses, found NaN or infinity in distillation"
    with pytest.raises(MethodError, match=message):
        run(budget=budget)


class Broken:
    """A method whose last step spoils the student."""

    def fit(self, teachers, student, **options):
        torch.nn.init.constant_(student.fc.weight, float("nan"))
        return student.eval()

    def flop(self, teachers, student, *, budget):
        return 0.0


def test_a_student_that_answers_with_nan_is_not_given_out():
    with pytest.raises(MethodError, match="broken: expected a classifier with finite logits"):
        run("broken", Broken())


OTHER_JOBS = {
    "seed": {"seed": 1},
    "name": {"name": "fedisca_2"},
    "budget": {"budget": dataclasses.replace(BUDGET, temperature=3.0)},
    "settings of the method": {"method": fedisca(adaptation="none")},
    "weighting": {"method": DataFree("fedisca", weighting=class_count_weighted)},
    "name of the phase": {"method": DataFree("other")},
    "seed of the study": {"study": study_of(seed=3)},
    "student": {"study": study_of(model={"architectures": ["wrn-16-2"]})},
    "counts": {"teachers": make_teachers(((30, 10, 1), (5, 20, 20), (0, 10, 40)))},
    "moments": {"teachers": make_teachers(moments=False)},
    "fewer teachers": {"teachers": Teachers(TEACHERS.members[:2], TEACHERS.image)},
    "order of teachers": {"teachers": Teachers(TEACHERS.members[::-1], TEACHERS.image)},
    "image": {"teachers": Teachers(TEACHERS.members, ImageSpec.of(3, 12))},
}


@pytest.mark.parametrize("changes", OTHER_JOBS.values(), ids=OTHER_JOBS.keys())
def test_the_checkpoint_of_another_job_is_refused(changes, killed):
    before = killed.read_bytes()
    with pytest.raises(SettingsError, match="job.checkpoint: expected the checkpoint of this very"):
        run(checkpoint=killed, **changes)
    assert killed.read_bytes() == before


class Moved:
    """A weighting that lies elsewhere in memory each time, as functions do in each process."""

    def __call__(self, logits, counts):
        return logits.mean(dim=0)


def test_a_job_is_the_same_job_in_another_process(monkeypatch):
    fingerprints = []

    class Noted(Checkpoint):
        def __init__(self, path, *, fingerprint):
            fingerprints.append(fingerprint)
            super().__init__(path, fingerprint=fingerprint)

    monkeypatch.setattr(build, "Checkpoint", Noted)
    budget = Budget(outer_epochs=1, synthesis_steps=1, batch_size=3)
    first, second = Moved(), Moved()
    assert repr(first) != repr(second)
    for weighting in (first, second):
        run(method=DataFree(weighting=weighting), budget=budget)
    assert fingerprints[0] == fingerprints[1]


def test_what_the_method_refuses_is_refused():
    budget = dataclasses.replace(BUDGET, student_start="average")
    study = study_of(model={"architectures": ["wrn-16-2"]})
    with pytest.raises(MethodError, match="a site with the student's architecture"):
        run(study=study, budget=budget)


def test_methods_that_learn_nothing_cost_no_arithmetic():
    done = run("ensemble_mean_logits", method_called("ensemble_mean_logits"))
    assert (done.flop, done.iterative) == (0, False)


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_predictions_do_not_depend_on_the_batches(batch_size, pixels):
    network = TEACHERS.members[1].network
    whole = predict(network, pixels, STUDY.image)
    parts = predict(network, pixels, STUDY.image, batch_size=batch_size)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    np.testing.assert_allclose(whole.sum(axis=1), 1)
    assert whole.dtype == np.float64


def test_predictions_are_the_softmax_of_normalised_images(pixels):
    network = TEACHERS.members[0].network
    inputs = torch.from_numpy(pixels).float() / 127.5 - 1
    wanted = network(inputs).softmax(dim=1).numpy()
    np.testing.assert_allclose(predict(network, pixels, STUDY.image), wanted, rtol=1e-4)


def test_a_job_killed_after_its_last_step_is_known_to_have_taken_some(tmp_path, monkeypatch):
    def kill(checkpoint):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "Checkpoint", every_step)
        patch.setattr(Checkpoint, "clear", kill)
        with pytest.raises(KeyboardInterrupt):
            run(checkpoint=tmp_path / "job")
    steps = []
    done = run(checkpoint=tmp_path / "job", on_step=steps.append)
    assert steps == []
    assert done.result(STUDY, None, bytes_per_site=9).changes == BUDGET.changes_from(Budget())


def test_no_image_cannot_be_classified(pixels):
    with pytest.raises(DataError, match="at least one image"):
        predict(TEACHERS.members[0].network, pixels[:0], STUDY.image)
