import dataclasses
import sys
import warnings

import numpy as np
import pytest
import torch

from envoi.calibration import fit_temperature
from envoi.checkpoint import Checkpoint
from envoi.errors import DataError, EnvoiWarning, SettingsError, StudyError
from envoi.site.course import Course, class_weights, log_mix
from envoi.site.job import job_fingerprint
from envoi.site.train import train


class Killed(BaseException):
    """Stands for a kill: no handler of the library may catch it."""


def weights(trained):
    return {name: tensor.clone() for name, tensor in trained.network.state_dict().items()}


def assert_equal(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def settings_of(study, **changes):
    return dataclasses.replace(study.training, **changes)


def test_a_site_learns_and_tells_what_it_came_to(make_images, study):
    seen = []
    settings = settings_of(study, epochs=6)
    trained = train(make_images(60), study=study, settings=settings, seed=1, on_step=seen.append)
    assert trained.validation_accuracy > 0.8
    assert trained.class_counts == (20, 20, 20)
    assert (trained.architecture, trained.epochs) == ("resnet10-small", 6)
    assert trained.seconds > 0
    assert 0.05 <= trained.temperature <= 20
    assert not trained.network.training

    ends = [info for info in seen if "train_loss" in info.losses]
    assert [info.epoch for info in ends] == [1, 2, 3, 4, 5, 6]
    assert set(ends[0].losses) == {"train_loss", "validation_loss", "validation_accuracy"}
    assert ends[-1].losses["train_loss"] < ends[0].losses["train_loss"]
    steps = [info for info in seen if "loss" in info.losses]
    assert [info.step for info in steps] == list(range(1, 19))
    assert {info.steps for info in seen} == {18}
    assert {info.phase for info in seen} == {"site/train"}


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(make_images, study):
    images = make_images()
    first = train(images, study=study, seed=1)
    assert_equal(weights(first), weights(train(images, study=study, seed=1)))
    for changed in (
        train(images, study=study, seed=2),
        train(images, study=study, seed=1, name="b"),
    ):
        assert not torch.equal(changed.network.fc.weight, first.network.fc.weight)


@pytest.mark.parametrize("schedule", ["steps", "one-cycle"])
def test_killed_at_every_step_it_ends_in_the_same_bits(make_images, study, tmp_path, schedule):
    images = make_images(20)
    settings = settings_of(study, epochs=3, batch_size=6, patience=2, schedule=schedule)
    whole, heard = [], []
    wanted = train(images, study=study, settings=settings, seed=1, on_step=whole.append)
    checkpoint = Checkpoint(tmp_path / "c.safetensors", fingerprint="x", every_seconds=0.0)

    def kill(info):
        heard.append(info)
        raise Killed

    while True:
        try:
            found = train(
                images,
                study=study,
                settings=settings,
                seed=1,
                checkpoint=checkpoint,
                on_step=kill,
            )
        except Killed:
            continue
        break
    assert heard == whole
    assert_equal(weights(found), weights(wanted))
    assert (found.epochs, found.temperature) == (wanted.epochs, wanted.temperature)


def test_killed_between_checkpoints_it_ends_in_the_same_bits(make_images, study, tmp_path):
    images, seen = make_images(20), 0
    wanted = train(images, study=study, seed=1)
    checkpoint = Checkpoint(tmp_path / "c.safetensors", every_seconds=0.0)

    def kill_later(info):
        nonlocal seen
        seen += 1
        checkpoint.every_seconds = 1e9 if seen >= 2 else 0.0
        if seen == 4:
            raise Killed

    with pytest.raises(Killed):
        train(images, study=study, seed=1, checkpoint=checkpoint, on_step=kill_later)
    assert_equal(
        weights(train(images, study=study, seed=1, checkpoint=checkpoint)), weights(wanted)
    )


def test_a_finished_training_is_not_repeated(make_images, study, tmp_path):
    images, checkpoint = make_images(), Checkpoint(tmp_path / "c.safetensors")
    first = train(images, study=study, seed=1, checkpoint=checkpoint)

    def never(info):
        raise AssertionError(info)

    again = train(images, study=study, seed=1, checkpoint=checkpoint, on_step=never)
    assert_equal(weights(first), weights(again))
    assert again.seconds == first.seconds


def test_with_patience_the_best_epoch_is_returned(make_images, study):
    images, losses, states = make_images(30), [], []
    settings = settings_of(study, epochs=8, rate=0.3, patience=2, augment=False)

    def listen(info):
        if "validation_loss" in info.losses:
            losses.append(info.losses["validation_loss"])

    trained = train(images, study=study, settings=settings, seed=5, on_step=listen)
    best = int(np.argmin(losses))
    assert trained.epochs == len(losses) == min(8, best + 1 + 2)
    shorter = dataclasses.replace(settings, patience=0, milestones=())
    full = dataclasses.replace(settings, milestones=())
    early = train(images, study=study, settings=full, seed=5, on_step=states.append)
    curve = [i.losses["validation_loss"] for i in states if "validation_loss" in i.losses]
    until = dataclasses.replace(shorter, epochs=int(np.argmin(curve)) + 1)
    assert_equal(weights(early), weights(train(images, study=study, settings=until, seed=5)))


def test_without_patience_the_last_epoch_is_returned(make_images, study):
    images = make_images(30)
    settings = settings_of(study, milestones=())
    last = train(images, study=study, settings=settings, seed=5)
    assert last.epochs == settings.epochs
    patient = dataclasses.replace(settings, patience=100)
    losses = []
    best = train(images, study=study, settings=patient, seed=5, on_step=losses.append)
    curve = [info.losses["validation_loss"] for info in losses if len(info.losses) == 3]
    same = torch.equal(best.network.fc.weight, last.network.fc.weight)
    assert same == (int(np.argmin(curve)) == len(curve) - 1)


@pytest.mark.parametrize("architecture", ["resnet10-small", "vgg8"])
def test_a_site_of_one_image_trains_with_a_warning(make_images, study, architecture):
    with pytest.warns(EnvoiWarning, match="one image, so nothing is left to validate with"):
        trained = train(make_images(1), study=study, architecture=architecture, seed=1)
    assert (trained.validation_accuracy, trained.temperature) == (None, None)
    assert all(tensor.isfinite().all() for tensor in trained.network.state_dict().values())


def test_all_images_of_one_patient_train_with_a_warning(make_images, study):
    settings = settings_of(study, patience=1)
    with pytest.warns(EnvoiWarning, match="images of one patient"):
        trained = train(make_images(9, patients=[4] * 9), study=study, settings=settings, seed=1)
    assert trained.epochs == settings.epochs
    assert trained.validation_accuracy is None


def test_a_last_batch_of_one_image_does_no_harm(make_images, study):
    settings = settings_of(study, batch_size=8, validation_fraction=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained = train(
            make_images(17), study=study, architecture="vgg8", settings=settings, seed=1
        )
    assert all(tensor.isfinite().all() for tensor in trained.network.state_dict().values())


def test_an_absent_class_has_no_weight_and_no_infinity(make_images, study):
    assert class_weights((30, 10, 0)).tolist() == pytest.approx([2 / 3, 2, 0])
    assert class_weights((5, 5, 5)).tolist() == pytest.approx([1, 1, 1])
    settings = settings_of(study, class_weights=True)
    images = make_images(labels=[0] * 30 + [1] * 2)
    trained = train(images, study=study, settings=settings, seed=1)
    plain = train(images, study=study, seed=1)
    assert trained.network.fc.bias.isfinite().all()
    assert not torch.equal(trained.network.fc.bias, plain.network.fc.bias)


def test_the_mix_of_a_site_leaves_absent_classes_alone():
    assert log_mix((30, 10, 0)).exp().tolist() == pytest.approx([0.75, 0.25, 1])
    assert log_mix((0, 0)).tolist() == [0, 0]


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_the_adjusted_loss_is_that_of_logits_with_the_mix(make_images, study, tau):
    images = make_images(labels=[0] * 30 + [1] * 10)
    settings = settings_of(study, logit_adjustment=tau, validation_fraction=0.0)
    course = Course(images, study, settings, (1, "site"), torch.device("cpu"))
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 0, 1, 1, 0])
    scaled = logits.exp() * torch.tensor([0.75**tau, 0.25**tau, 1.0])
    chances = scaled / scaled.sum(dim=1, keepdim=True)
    wanted = -chances[torch.arange(6), labels].log().mean()
    torch.testing.assert_close(course._loss(logits, labels), wanted)


def test_adjusted_training_favours_rare_classes_and_lowers_absent_ones(make_images, study):
    images = make_images(labels=[0] * 60 + [1] * 4)
    biases = {}
    for tau in (0.0, 1.0):
        settings = settings_of(study, logit_adjustment=tau, validation_fraction=0.0, rate=0.01)
        trained = train(images, study=study, settings=settings, seed=1)
        biases[tau] = trained.network.fc.bias.detach()
        drift = biases[tau] - study.network().fc.bias
        assert drift[2] < drift[:2].max()
        assert trained.settings.mix_power == 1 - tau
    gained = biases[1.0] - biases[0.0]
    assert gained[1] > gained[0]


@pytest.mark.parametrize("changes", [{"logit_adjustment": 0.7}, {"class_weights": True}])
def test_the_temperature_is_fitted_under_the_mix_of_the_held_out_images(
    make_images, study, changes
):
    images = make_images(labels=[0] * 60 + [1] * 24 + [2] * 12)
    settings = settings_of(study, epochs=1, validation_fraction=0.5, **changes)
    trained = train(images, study=study, settings=settings, seed=1)
    course = Course(images, study, settings, (1, "site"), torch.device("cpu"))
    logits, labels = (tensor.numpy() for tensor in course.held_out(trained.network))
    mix = (1 - settings.mix_power) * log_mix((60, 24, 12)).numpy()
    assert trained.temperature == fit_temperature(logits, labels, mix)
    assert trained.temperature != fit_temperature(logits, labels)


def test_networks_start_from_the_studys_own_weights(make_images, study):
    settings = settings_of(study, epochs=1, rate=1e-12, validation_fraction=0.0)
    trained = train(make_images(), study=study, settings=settings, seed=1)
    torch.testing.assert_close(trained.network.fc.weight, study.network().fc.weight)


def test_images_that_do_not_fit_are_refused_with_all_problems(make_images, study):
    images = dataclasses.replace(make_images(6, size=10), class_names=("a", "b", "c"))
    with pytest.raises(DataError) as caught:
        train(images, study=study, seed=1)
    assert "1 channels and 12 pixels, as the study says" in str(caught.value)
    assert "the study's classes round, lobed, empty, found a, b, c" in str(caught.value)
    with pytest.raises(DataError, match="expected at least one image, found none"):
        train(make_images(6).subset([]), study=study, seed=1)


def test_an_architecture_outside_the_study_is_refused(make_images, study):
    with pytest.raises(StudyError, match="found 'wrn-16-2'"):
        train(make_images(), study=study, architecture="wrn-16-2", seed=1)


def test_batches_of_one_image_are_refused(make_images, study):
    with pytest.raises(
        SettingsError, match=r"batch_size: expected a whole number from 2 .*, found 1"
    ):
        train(make_images(), study=study, settings=settings_of(study, batch_size=1), seed=1)


def test_a_diverged_training_ends_in_one_line(make_images, study):
    settings = settings_of(study, rate=1e8)
    with pytest.raises(SettingsError, match=r"expected a finite loss, found .* in epoch"):
        train(make_images(), study=study, settings=settings, seed=1)


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), float("-inf")])
def test_a_validation_that_is_not_finite_ends_in_one_line(make_images, study, monkeypatch, spoilt):
    def answers(network, inputs, index):
        logits = torch.zeros(len(index), 3)
        logits[0, 2 - inputs.labels[index[0]]] = spoilt  # of the wrong class
        return logits

    monkeypatch.setattr(sys.modules["envoi.site.course"], "logits_of", answers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SettingsError, match=r"expected a finite .*validation .* in epoch 1"):
            train(make_images(labels=[0, 2] * 12), study=study, seed=1)


def test_weights_that_the_last_step_spoils_are_refused(make_images, study, monkeypatch):
    def spoil(info):
        with torch.no_grad():
            network.fc.bias[0] = float("inf")

    network = study.network()
    monkeypatch.setattr(type(study), "network", lambda *_: network)
    settings = settings_of(study, epochs=1, batch_size=99, validation_fraction=0.0)
    with pytest.raises(SettingsError, match="expected finite weights after the last step"):
        train(make_images(), study=study, settings=settings, seed=1, on_step=spoil)


SIDES = ("kidney-left", "kidney-right", "liver")


def test_classes_that_tell_sides_are_not_flipped(make_images, make_study):
    study = make_study(classes=list(SIDES))
    images = dataclasses.replace(make_images(), class_names=SIDES)
    with pytest.warns(EnvoiWarning, match="the classes kidney-left and kidney-right tell left"):
        trained = train(images, study=study, seed=1)
    assert not trained.settings.flip
    plain = settings_of(study, flip=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wanted = train(images, study=study, settings=plain, seed=1)
        train(images, study=study, settings=settings_of(study, augment=False), seed=1)
    assert_equal(weights(trained), weights(wanted))


def test_other_classes_are_flipped_if_the_settings_say_so(make_images, study):
    images = make_images()
    flipped, plain = train(images, study=study, seed=1), settings_of(study, flip=False)
    assert flipped.settings.flip
    unflipped = train(images, study=study, settings=plain, seed=1)
    assert not torch.equal(flipped.network.fc.weight, unflipped.network.fc.weight)


def test_a_checkpoint_of_another_job_is_refused(make_images, study, tmp_path):
    images, path = make_images(), tmp_path / "c.safetensors"
    job = {"study": study, "architecture": "vgg8", "settings": study.training, "seed": 1}
    first = job_fingerprint(images, **job)
    train(images, study=study, seed=1, checkpoint=Checkpoint(path, fingerprint=first))
    others = [
        job_fingerprint(make_images(seed=9), **job),
        job_fingerprint(make_images(patients=range(48)), **job),
        job_fingerprint(images, **{**job, "seed": 2}),
        job_fingerprint(images, **{**job, "architecture": "resnet10-small"}),
        job_fingerprint(images, **{**job, "settings": settings_of(study, epochs=9)}),
        job_fingerprint(images, **job, name="other"),
    ]
    assert len({first, *others}) == 7
    assert job_fingerprint(make_images(), **job) == first
    with pytest.raises(SettingsError, match="a job with other settings or inputs"):
        train(images, study=study, seed=1, checkpoint=Checkpoint(path, fingerprint=others[0]))


def test_lowered_precision_learns_about_the_same_and_keeps_weights_in_fp32(make_images, study):
    images = make_images()
    plain, lowered = (
        train(images, study=study, seed=0, precision=precision) for precision in ("fp32", "bf16")
    )
    first, second = weights(plain), weights(lowered)
    kinds = {value.dtype for value in second.values() if value.is_floating_point()}
    assert kinds == {torch.float32}
    assert any(not first[name].equal(second[name]) for name in first)
    assert lowered.validation_accuracy == pytest.approx(plain.validation_accuracy, abs=0.1)
    assert plain.validation_accuracy > 0.5


def test_a_fingerprint_knows_a_lowered_precision_and_is_else_as_before(make_images, study):
    job = {"study": study, "architecture": study.architectures[0], "settings": study.training}
    images = make_images()
    usual = job_fingerprint(images, **job, seed=0)
    assert job_fingerprint(images, **job, seed=0, precision="fp32") == usual
    assert job_fingerprint(images, **job, seed=0, precision="bf16") != usual
