"""Where the server computes: everything on one device, and what it was given stays where it is."""

import dataclasses

import numpy as np
import pytest
import torch

from envoi.networks import build
from envoi.server.build import distil, predict
from envoi.server.gallery import write_gallery
from envoi.server.methods import METHODS, method_called
from envoi.settings import Budget
from envoi.study import study_from
from tests.conftest import TINY_CLASSES

BANK = {"bank_images": 12, "bank_steps": 2, "bank_batch": 4}
BUDGET = Budget(outer_epochs=1, synthesis_steps=2, batch_size=6, **BANK)
CPU = torch.device("cpu")
STUDY = study_from(
    {
        "name": "Tiny",
        "classes": list(TINY_CLASSES),
        "image": {"channels": 3, "size_px": 8},
        "model": {"architectures": ["resnet10-small"]},
    }
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)


def run(name, teachers, device, **options):
    given = {"study": STUDY, "budget": BUDGET, "device": device, **options}
    return distil(name, method_called(name), teachers, **given)


def devices(network):
    """Where its weights and buffers are; a classifier of one solve has buffers alone."""
    return {tensor.device.type for tensor in network.state_dict().values()}


@pytest.mark.parametrize("name", METHODS)
def test_the_cpu_can_be_asked_for(name, teachers, pixels):
    done = run(name, teachers, CPU)
    assert devices(done.network) == {"cpu"}
    asked = predict(done.network, pixels, STUDY.image, device=CPU)
    assert (asked == predict(done.network, pixels, STUDY.image)).all()


def test_teachers_that_are_there_already_are_the_same(teachers):
    assert teachers.on(CPU) is teachers
    assert teachers.class_counts.device == teachers.device == CPU


def test_a_network_that_is_asked_elsewhere_stays_where_it_is(pixels):
    """On the `meta` device weights have no values, so asking there must fail, and only there."""
    network = build("resnet10-small", channels=3, classes=3, seed=0).eval()
    with pytest.raises(NotImplementedError, match="meta"):
        predict(network, pixels, STUDY.image, device=torch.device("meta"))
    assert {p.device for p in network.parameters()} == {CPU}
    assert predict(network, pixels, STUDY.image).shape == (5, 3)


def test_a_classifier_without_weights_is_asked_where_its_buffers_are(teachers, pixels):
    network = run("closed_form", teachers, CPU).network
    assert not list(network.parameters())
    assert predict(network, pixels, STUDY.image).shape == (5, 3)
    with pytest.raises(NotImplementedError, match="meta"):
        predict(network.to("meta"), pixels, STUDY.image)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_on_a_gpu(name, pixels, teachers, tmp_path):
    done = run(name, teachers, torch.device("cuda"))
    assert devices(done.network) == {"cuda"}
    assert {p.device.type for m in teachers.members for p in m.network.parameters()} == {"cpu"}
    assert 0 < done.peak_bytes < 2**32
    here = predict(done.network, pixels, STUDY.image, device=CPU)
    np.testing.assert_allclose(predict(done.network, pixels, STUDY.image), here, atol=1e-2)
    done.save_student(tmp_path / "student.safetensors", STUDY)


@pytest.mark.gpu
@needs_gpu
def test_a_job_may_go_on_on_another_device(tmp_path, teachers, monkeypatch):
    def kill(info):
        raise KeyboardInterrupt

    options = {"budget": dataclasses.replace(BUDGET, synthesis_steps=4)}
    options["checkpoint"] = tmp_path / "job"
    with monkeypatch.context() as patch:
        patch.setattr("envoi.checkpoint.Checkpoint.urgent", True)
        with pytest.raises(KeyboardInterrupt):
            run("fedisca", teachers, CPU, on_step=kill, **options)
    steps = []
    run("fedisca", teachers, torch.device("cuda"), on_step=steps.append, **options)
    assert [info.step for info in steps] == [2, 3, 4]


@pytest.mark.gpu
@needs_gpu
def test_a_gallery_is_made_where_the_teachers_are(tmp_path, teachers):
    assert write_gallery(tmp_path, teachers.on(torch.device("cuda", 0)), BUDGET)
