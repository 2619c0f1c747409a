"""The gallery: one row of images for each moment, made once."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from envoi.networks import build
from envoi.results import Picture
from envoi.seeding import torch_generator
from envoi.server import gallery
from envoi.server.gallery import existing_gallery, write_gallery
from envoi.server.kept import Held
from envoi.server.synthesis.inversion import Inversion
from envoi.server.teacher import Teacher, Teachers
from envoi.settings import Budget
from envoi.transforms import denormalise
from envoi.types import ImageSpec
from tests.conftest import make_teachers

BUDGET = Budget(synthesis_steps=8, batch_size=9)


def pictures_of(folder):
    return {file.name: np.asarray(Image.open(file)) for file in folder.iterdir()}


def test_five_moments_from_noise_to_realistic(teachers, tmp_path):
    found = write_gallery(tmp_path / "gallery", teachers, BUDGET)
    assert found == tuple(
        Picture(f"gallery/step-{step:04d}.png", f"inversion, step {step} of 8")
        for step in (0, 1, 2, 4, 8)
    )
    assert {f"gallery/{name}" for name in pictures_of(tmp_path / "gallery")} == {
        picture.file for picture in found
    }


def test_each_picture_shows_every_class_twice_large_enough_to_see(teachers, tmp_path):
    write_gallery(tmp_path, teachers, BUDGET)
    # Images of 8 pixels and a white pixel on each side, seven times larger.
    for picture in pictures_of(tmp_path).values():
        assert picture.shape == (10 * 7, 6 * 10 * 7, 3)
        assert (picture[:7] == 255).all()
        assert (picture[:, :7] == 255).all()


def test_pictures_are_the_images_of_the_synthesis(teachers, tmp_path):
    write_gallery(tmp_path, teachers, BUDGET, seed=5)
    inversion = Inversion(teachers, BUDGET, torch_generator(5, "gallery"))
    steps = [inversion.images.detach().clone(), *(inversion.advance()[0] for _ in range(8))]
    for number in (0, 1, 8):
        picture = np.asarray(Image.open(tmp_path / f"step-{number:04d}.png"))[3::7, 3::7]
        for position in range(6):
            shown = picture[1:9, 10 * position + 1 : 10 * position + 9].transpose(2, 0, 1)
            wanted = denormalise(steps[number][position : position + 1], teachers.image)[0]
            assert (shown == wanted.numpy()).all()


def test_few_steps_and_small_batches_give_fewer_pictures_of_fewer_images(teachers, tmp_path):
    budget = dataclasses.replace(BUDGET, synthesis_steps=2, batch_size=4)
    found = write_gallery(tmp_path, teachers, budget)
    assert [picture.caption for picture in found] == [
        f"inversion, step {n} of 2" for n in (0, 1, 2)
    ]
    widths = {picture.shape[1] for picture in pictures_of(tmp_path).values()}
    assert widths == {4 * 10 * 7}


def test_pictures_are_made_once(teachers, tmp_path, monkeypatch):
    first = write_gallery(tmp_path, teachers, BUDGET)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    monkeypatch.setattr(gallery, "Inversion", lambda *_: pytest.fail("synthesised again"))
    assert write_gallery(tmp_path, teachers, BUDGET) == first
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before


def test_a_missing_picture_is_made_again_the_same(teachers, tmp_path):
    write_gallery(tmp_path, teachers, BUDGET)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    (tmp_path / "step-0004.png").unlink()
    write_gallery(tmp_path, teachers, BUDGET)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_every_step_is_told_and_an_interrupted_gallery_is_none(teachers, tmp_path):
    steps = []

    def interrupt(info):
        steps.append((info.phase, info.step, info.steps))
        if info.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gallery(tmp_path, teachers, BUDGET, on_step=interrupt)
    assert steps == [("gallery", step, 8) for step in range(1, 6)]
    assert existing_gallery(tmp_path, BUDGET) == ()
    assert write_gallery(tmp_path, teachers, BUDGET) == existing_gallery(tmp_path, BUDGET) != ()


def test_another_seed_shows_other_images(tmp_path):
    teachers = make_teachers()
    for seed in (0, 1):
        write_gallery(tmp_path / str(seed), teachers, BUDGET, seed=seed)
    first, second = (pictures_of(tmp_path / str(seed)) for seed in (0, 1))
    assert (first["step-0000.png"] != second["step-0000.png"]).any()


@pytest.mark.parametrize(("size_px", "scale"), [(8, 7), (64, 1)])
def test_grey_images_give_grey_pictures(size_px, scale, tmp_path):
    network = build("resnet10-small", channels=1, classes=2, seed=0).eval()
    teacher = Teacher("north", "resnet10-small", Held(network), ("a", "b"), (1, 1))
    budget = dataclasses.replace(BUDGET, synthesis_steps=1, batch_size=4)
    write_gallery(tmp_path, Teachers((teacher,), ImageSpec.of(1, size_px)), budget)
    shapes = {picture.shape for picture in pictures_of(tmp_path).values()}
    assert shapes == {((size_px + 2) * scale, 4 * (size_px + 2) * scale)}
