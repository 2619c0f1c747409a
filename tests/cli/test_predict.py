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


def lines(place):
    return list(csv.DictReader((place / "p.csv").read_text().splitlines()))


def grey(path, value, size_px=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (size_px, size_px), value).save(path)


def test_pictures_without_labels_are_told_by_their_files(place):
    for name, value in (("b.png", 10), ("a.png", 90), ("more/c.png", 200)):
        grey(place / "images" / name, value)
    (place / "images" / "notes.txt").write_text("not a picture")
    grey(place / "images" / ".hidden.png", 0)
    assert asked("images", "--out", "p.csv").output == "Wrote p.csv: 3 images.\n"
    assert [row["file"] for row in lines(place)] == ["a.png", "b.png", "more/c.png"]
    pixels = np.array([90, 10, 200], np.uint8)[:, None, None, None] * np.ones(
        (1, 1, 8, 8), np.uint8
    )
    wanted = predict(NETWORK, pixels.astype(np.uint8), CARD.image)
    found = [float(row["p(b)"]) for row in lines(place)]
    np.testing.assert_allclose(found, wanted[:, 1], atol=1e-6)


def test_a_table_needs_a_column_of_paths_alone(place):
    for number in range(3):
        grey(place / "pictures" / f"{number}.png", 40 * number)
    (place / "t.csv").write_text("path,patient\npictures/2.png,x\npictures/0.png,y\n")
    assert asked("t.csv", "--out", "p.csv").output == "Wrote p.csv: 2 images.\n"
    assert [row["file"] for row in lines(place)] == ["pictures/2.png", "pictures/0.png"]


def test_parts_of_a_folder_and_of_a_table_can_be_asked_for(place):
    for part in ("train", "test"):
        grey(place / "images" / part / "some class" / "0.png", 90)
    (place / "t.csv").write_text("path,split\nimages/train/some class/0.png,val\n")
    assert asked("images", "--split", "test", "--out", "p.csv").exit_code == 0
    assert [row["file"] for row in lines(place)] == ["test/some class/0.png"]
    assert asked("t.csv", "--split", "validation", "--out", "p.csv").exit_code == 0
    assert len(lines(place)) == 1
    assert (
        "expected a part called test" in asked("t.csv", "--split", "test", "--out", "p.csv").stderr
    )


def test_an_npz_may_have_images_alone(place):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    np.savez(place / "only.npz", test_images=images)
    assert asked("only.npz", "--out", "p.csv").output == "Wrote p.csv: 5 images.\n"
    assert list(lines(place)[0]) == ["image", "predicted", "p(cell, round)", "p(b)"]
    refused = asked("only.npz", "--split", "train", "--out", "p.csv")
    assert (refused.exit_code, "a file without train_images" in refused.stderr) == (3, True)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("large.npz",), 3, "expected 1 channels and 8 pixels, as the student's"),
        (("images.npz", "--fit", "resize"), 2, "expected no --fit and no --allow-channel-conver"),
        (("empty",), 3, "expected pictures, found none"),
        (("images.txt",), 2, "Give a MedMNIST .npz, a .csv table"),
        (("nowhere.npz",), 3, "nowhere.npz"),
        (("images.npz", "--split", "half"), 2, "--split: expected one of train"),
        (("images.npz", "--device", "abacus"), 2, "--device: expected auto, cpu or cuda"),
    ],
)
def test_what_cannot_be_asked_ends_in_a_line(words, code, message, place):
    write_images(place / "images.npz")
    write_images(place / "large.npz", size_px=12)
    (place / "empty").mkdir()
    found = asked(*words, "--out", "p.csv")
    assert (found.exit_code, message in found.stderr) == (code, True), found.stderr
    assert not (place / "p.csv").exists()


def test_a_file_that_is_no_student_is_told(place):
    (place / "student.safetensors").write_text("hello")
    found = asked("images.npz", "--out", "p.csv")
    assert (found.exit_code, "expected a student, found another file" in found.stderr) == (3, True)
