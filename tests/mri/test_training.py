"""Training of volume models: resumed to the same bits, averaged, bounded in time."""

import itertools
import json
import re
from dataclasses import replace

import pytest
import torch

from envoi.checkpoint import Checkpoint
from envoi.errors import MethodError, SettingsError, StorageError
from envoi.mri import training
from envoi.mri.modes import ModelCard, plan_of, read_card, read_model, weights_digest, write_model
from envoi.mri.run import check_learnt_from, fresh_model, train_in
from envoi.mri.training import MriTraining, train
from tests.launched import TORCHRUN, python
from tests.mri.conftest import PLANS, SHAPE, strangers, subjects

FEW = MriTraining(steps=6, batch=2, warm_up=2, matrix_rate=1e-3, cool_down=0.5)
_THIN = {"thickness": 4, "overlap": 1}
every_plan = pytest.mark.parametrize("name", list(PLANS))


class StopError(Exception):
    """A kill."""


def same(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@every_plan
def test_a_killed_training_ends_with_the_same_weights(name, tmp_path):
    population = strangers(9)
    whole, killed, resumed = (fresh_model(PLANS[name], 0) for _ in range(3))
    train(whole, population, FEW)

    def checkpoint():
        return Checkpoint(tmp_path / "state", fingerprint="x", every_seconds=0)

    def stop(info):
        if info.step == 3:
            raise StopError

    with pytest.raises(StopError):
        train(killed, population, FEW, checkpoint=checkpoint(), on_step=stop)
    assert train(resumed, population, FEW, checkpoint=checkpoint()) == 6
    assert same(whole, resumed)


def test_the_model_ends_with_averaged_weights(population):
    model = fresh_model(PLANS["joint"], 0)
    expected = _weights(model)

    def follow(info):
        decay = min(0.999, (1 + info.step) / (10 + info.step))
        for name, value in _weights(model).items():
            expected[name].lerp_(value, 1 - decay)

    train(model, population, FEW, on_step=follow)
    assert not model.training
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], atol=1e-7, rtol=0)


@pytest.mark.parametrize("ends_by", ["steps", "time"])
def test_the_rate_rises_stays_and_falls_to_nothing(ends_by, population, monkeypatch):
    rates = []

    class Watched(torch.optim.AdamW):
        def step(self):
            rates.append(self.param_groups[0]["lr"])
            super().step()

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    ticks = itertools.count()  # a step begins and ends: one second
    monkeypatch.setitem(training._CLOCKS, "wall", lambda: float(next(ticks)))
    limits = {"steps": {"steps": 10}, "time": {"steps": 1000, "seconds": 10}}[ends_by]
    settings = MriTraining(batch=1, warm_up=2, rate=0.01, cool_down=0.5, **limits)
    assert train(fresh_model(PLANS["joint"], 0), population, settings) == 10
    expected = [0.005, 0.01, 0.01, 0.01, 0.01, 0.01, 0.008, 0.006, 0.004, 0.002]
    assert rates == pytest.approx(expected)


def test_a_training_that_diverges_stops_with_a_line(population):
    model = fresh_model(PLANS["joint"], 0)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(MethodError, match="finite losses.*NaN.*Lower the rate"):
        train(model, population, FEW)


def _weights(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_time_ends_training_early(population):
    settings = MriTraining(steps=10_000, batch=1, seconds=0.2)
    assert 1 <= train(fresh_model(PLANS["joint"], 0), population, settings) < 10_000


def test_seeds_decide_weights_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    one, again, other = (fresh_model(PLANS["joint"], seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert same(one, again)
    assert not same(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"warm_up": -1}, "warm_up"),
        ({"cool_down": 1.5}, "cool_down"),
        ({"seconds": -1.0}, "seconds"),
        ({"matrix_rate": -1e-3}, "matrix_rate"),
        ({"rate": 0.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"average": 1.0}, "average"),
        ({"seconds": float("inf")}, "seconds: expected a number from 0 on, found inf"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(SettingsError, match=message):
        MriTraining(**changes)


def test_a_run_trains_once_and_keeps_its_model(tmp_path):
    people = subjects()
    model, card = train_in(tmp_path, people, "joint", PLANS["joint"], FEW)
    assert (card.subjects, card.steps, card.grid) == (3, 6, people[0].volume.grid)
    assert not (tmp_path / "training.safetensors").exists()
    seen = []
    again, _ = train_in(tmp_path, people, "joint", PLANS["joint"], FEW, on_step=seen.append)
    assert not seen
    assert same(model, again)


def test_a_run_knows_what_it_learnt_from(tmp_path):
    train_in(tmp_path, subjects(), "joint", PLANS["joint"], FEW)
    check_learnt_from(tmp_path, subjects())
    for others in (subjects(2), subjects()[::-1]):
        with pytest.raises(SettingsError, match="expected the volumes that the run learnt from"):
            check_learnt_from(tmp_path, others)
    with pytest.raises(StorageError, match="the settings of a run"):
        check_learnt_from(tmp_path / "none", subjects())


def test_a_folder_belongs_to_its_subjects_and_settings(tmp_path):
    train_in(tmp_path, subjects(), "joint", PLANS["joint"], FEW)
    with pytest.raises(SettingsError, match="subjects"):
        train_in(tmp_path, subjects(2), "joint", PLANS["joint"], FEW)
    with pytest.raises(SettingsError, match="training"):
        train_in(tmp_path, subjects(), "joint", PLANS["joint"], MriTraining(steps=7))


def test_the_paper_begins_at_its_full_rate():
    assert MriTraining.of_mode("paper").warm_up == 0 < MriTraining.of_mode("joint").warm_up


def test_a_run_tells_what_its_precision_was_and_is_read_wherever_it_was_computed(tmp_path):
    settings = replace(FEW, precision="auto")
    train_in(tmp_path, subjects(), "joint", PLANS["joint"], settings)
    told = json.loads((tmp_path / "settings.json").read_text())
    assert told["training"]["precision"] == "fp32"
    with pytest.raises(SettingsError, match="precision: fp32 then, bf16 now"):
        train_in(tmp_path, subjects(), "joint", PLANS["joint"], replace(FEW, precision="bf16"))
    other = tmp_path / "other"
    lowered = replace(FEW, precision="bf16")
    train_in(other, subjects(), "joint", PLANS["joint"], lowered)
    train_in(other, subjects(), "joint", PLANS["joint"], settings)


@every_plan
def test_a_model_is_read_as_it_was_written(name, tmp_path):
    from dataclasses import asdict

    model, grid = fresh_model(PLANS[name], 0), subjects()[0].volume.grid
    about = (name.partition(",")[0], asdict(PLANS[name]), grid, 3, 6, None, (30.0, 65.0), ())
    card = ModelCard(*about, weights_digest(model))
    write_model(tmp_path / "a", model, card)
    write_model(tmp_path / "b", model, card)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found, told = read_model(tmp_path / "a"), read_card(tmp_path / "a")
    assert same(model, found)
    assert told.grid == grid
    assert told.mode == name.partition(",")[0]


def test_a_single_changed_bit_of_a_model_is_found(tmp_path):
    train_in(tmp_path, subjects(), "joint", PLANS["joint"], FEW)
    file = tmp_path / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-len(content) // 3] ^= 1
    file.write_bytes(content)
    with pytest.raises(StorageError, match="found a damaged model.safetensors"):
        read_model(file)


def test_another_file_is_no_model(tmp_path):
    file = tmp_path / "model.safetensors"
    for content in (b"", b"no model", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"):
        file.write_bytes(content)
        with pytest.raises(StorageError, match="a trained model"):
            read_model(file)
    with pytest.raises(StorageError, match="a trained model"):
        read_model(tmp_path / "none")


def test_plans_of_unknown_modes_or_fields_are_refused():
    with pytest.raises(SettingsError, match="one of joint, paper"):
        plan_of("cubes", SHAPE, {})
    with pytest.raises(SettingsError, match="thickness"):
        plan_of("joint", SHAPE, {"thickness": "thick"})
    with pytest.raises(SettingsError, match="overlap: expected 0 to 3, below thickness, found 4"):
        plan_of("joint", SHAPE, {"thickness": 4})
    with pytest.raises(
        SettingsError, match="joint, shape: expected 11 slices or more along each axis"
    ):
        plan_of("joint", SHAPE, {"thickness": 11})
    with pytest.raises(SettingsError, match="known settings, found thicknes"):
        plan_of("joint", SHAPE, {"thicknes": 4})


@pytest.mark.parametrize(
    ("mode", "changes", "message"),
    [
        ("joint", {**_THIN, "fine": 4}, "fine: expected positive multiples of 8, found 4"),
        (
            "joint",
            {**_THIN, "widths": (10, 20)},
            "widths: expected positive multiples of 8, found 10",
        ),
        ("joint", {**_THIN, "widths": ()}, "widths: expected positive multiples of 8, found none"),
        ("joint", {**_THIN, "coarse_factor": 0}, "coarse_factor: expected positive, found 0"),
        ("joint", {**_THIN, "factors": -1}, "factors: expected positive, found -1"),
        ("full3d", {"widths": (24, 32)}, "widths: expected positive multiples of 16"),
        ("wavelet3d", {"widths": (32, 48)}, "widths: expected positive multiples of 32, found 48"),
        ("paper", {"network": {"width": 20}}, "width: expected positive multiples of 16"),
        ("paper", {"network": {"heads": 0}}, "heads: expected positive, found 0"),
        ("paper", {"network": {"heads": 3}}, "width: expected positive multiples of 3"),
        ("paper", {"network": {"attention": (5,)}}, "expected levels below 5, found [5]"),
        ("paper", {"slots": 1}, "slots: expected positive multiples of 2, found 1"),
        ("paper", {"slots": 0}, "slots: expected positive multiples of 2, found 0"),
    ],
)
def test_shapes_that_no_network_has_are_refused(mode, changes, message):
    with pytest.raises(SettingsError, match=re.escape(message)):
        plan_of(
            mode, SHAPE, {"thickness": 4, "overlap": 1, **changes} if mode == "joint" else changes
        )


def test_two_processes_learn_what_one_does(tmp_path):
    job = tmp_path / "job.py"
    job.write_text("from envoi.cli import main\nmain()\n")
    words = ["mri", "phantom", "--subjects", "3", "--shape", "24x28x24", "--spacing-mm", "8"]
    assert python(job, *words, "--out", "brains", cwd=tmp_path).returncode == 0
    train = ["mri", "train", "brains", "--steps", "3", "--batch", "2", "--parts", "2"]
    alone = python(job, *train, "--out", "alone", cwd=tmp_path)
    shared = python(*TORCHRUN, 2, job, *train, "--out", "shared", cwd=tmp_path)
    assert (alone.returncode, shared.returncode) == (0, 0), shared.stderr
    one, two = (read_model(tmp_path / run / "model.safetensors") for run in ("alone", "shared"))
    for (name, first), second in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(second, first, atol=2e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("parts", [0, 3])
def test_parts_divide_the_batch(parts):
    with pytest.raises(SettingsError, match="a divisor of the batch, 8"):
        MriTraining(parts=parts)
