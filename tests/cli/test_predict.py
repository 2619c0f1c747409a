"""`envoi predict`: a student and images in, one line of probabilities an image out."""

import csv

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from envoi.cli import app
from envoi.networks import build
from envoi.server.build import predict
from envoi.server.student import StudentCard, write_student
from envoi.types import ImageSpec

runner = CliRunner()
CARD = StudentCard("resnet10-small", ("cell, round", "b"), ImageSpec.of(1, 8), "fedisca", "0" * 64)
NETWORK = build("resnet10-small", channels=1, classes=2, seed=3).eval()


def asked(*words):
    return runner.invoke(app, ["predict", "student.safetensors", *map(str, words)])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_student(tmp_path / "student.safetensors", NETWORK, CARD)
    return tmp_path


def write_images(path, *, size_px=8):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 6), ("val", 2), ("test", 4)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, size_px, size_px), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(count)[:, None] % 2
    np.savez(path, **arrays)
    return arrays


def test_each_image_has_a_line_of_probabilities(place):
    arrays = write_images(place / "images.npz")
    found = asked("images.npz", "--split", "test", "--out", "predictions.csv")
    assert (found.exit_code, found.output) == (0, "Wrote predictions.csv: 4 images.\n")
    rows = list(csv.DictReader((place / "predictions.csv").read_text().splitlines()))
    wanted = predict(NETWORK, arrays["test_images"][:, None], CARD.image)
    assert [list(row) for row in rows] == [["image", "predicted", "p(cell, round)", "p(b)"]] * 4
    for number, (row, values) in enumerate(zip(rows, wanted, strict=True)):
        assert row["image"] == str(number)
        assert row["predicted"] == CARD.class_names[values.argmax()]
        found = [float(row["p(cell, round)"]), float(row["p(b)"])]
        np.testing.assert_allclose(found, values, atol=1e-6)


def test_all_images_are_asked_unless_a_split_is_named(place):
    write_images(place / "images.npz")
    assert asked("images.npz", "--out", "p.csv").output == "Wrote p.csv: 12 images.\n"


def test_a_folder_is_read_with_what_is_permitted(place):
    for name in CARD.class_names:
        (place / "images" / name).mkdir(parents=True)
        Image.new("L", (12, 12), 90).save(place / "images" / name / "0.png")
    refused = asked("images", "--out", "p.csv")
    assert refused.exit_code == 3
    found = asked("images", "--fit", "resize", "--out", "p.csv")
    assert found.exit_code == 0, found.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("large.npz",), 3, "expected images of 1 channels and 8 pixels"),
        (("nowhere.npz",), 3, "nowhere.npz"),
        (("images.npz", "--split", "half"), 2, "--split: expected one of train"),
        (("images.npz", "--device", "abacus"), 2, "--device: expected auto, cpu or cuda"),
    ],
)
def test_what_cannot_be_asked_ends_in_a_line(words, code, message, place):
    write_images(place / "images.npz")
    write_images(place / "large.npz", size_px=12)
    found = asked(*words, "--out", "p.csv")
    assert (found.exit_code, message in found.stderr) == (code, True), found.stderr
    assert not (place / "p.csv").exists()


def test_a_file_that_is_no_student_is_told(place):
    (place / "student.safetensors").write_text("hello")
    found = asked("images.npz", "--out", "p.csv")
    assert (found.exit_code, "expected a student, found another file" in found.stderr) == (3, True)
