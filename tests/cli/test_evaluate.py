"""A student goes back to the hospitals, and their words on it are put together."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from envoi.cli import app
from envoi.files import file_digest
from envoi.networks import build
from envoi.server.student import StudentCard, write_student
from envoi.study import load_study
from envoi.submission import load_key, public_text

runner = CliRunner()


def run(*words):
    return runner.invoke(app, [str(word) for word in words])


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A study of two sites with keys, a student of it, and test images."""
    monkeypatch.chdir(tmp_path)
    new = ("--name", "Cells", "--classes", "a,b,c", "--channels", 1, "--size", 12)
    assert run("study", "new", ".", *new, "--architecture", "resnet10-small").exit_code == 0
    for site in ("north", "south"):
        line = run("site", "keygen", site).output.split(" = ")[1].split('"')[1]
        assert run("study", "add-site", "study.toml", site, line).exit_code == 0
    study = load_study(tmp_path / "study.toml")
    network = build("resnet10-small", channels=1, classes=3, seed=1)
    card = StudentCard("resnet10-small", study.classes, study.image, "envoi", study.digest)
    write_student(tmp_path / "student.safetensors", network, card)
    write_student(tmp_path / "foreign.safetensors", network, replace(card, study="0" * 64))
    draws = np.random.default_rng(0)
    counts = {"train": 6, "val": 6, "test": 64}
    arrays = {}
    for part, count in counts.items():
        arrays[f"{part}_images"] = draws.integers(0, 256, (count, 12, 12), np.uint8)
        arrays[f"{part}_labels"] = np.minimum(np.arange(count) % 16 // 7, 2)[:, None]
    np.savez(tmp_path / "images.npz", **arrays)
    (tmp_path / "inbox").mkdir()
    assert collected().exit_code == 0
    return tmp_path


def collected():
    return run("server", "collect", "inbox", "--study", "study.toml", "--folder", "server")


def asked(site, out, *options, student="student.safetensors"):
    given = ("--study", "study.toml", "--site", site, "--key", f"{site}.key")
    return run("site", "evaluate", student, *given, "--data", "images.npz", "--out", out, *options)


def together(*options):
    words = ("inbox", "--study", "study.toml", "--folder", "server")
    words += ("--student", "student.safetensors")
    return run("server", "evaluations", *words, *options)


def test_hospitals_speak_and_the_server_adds_up(place):
    first = asked("north", "inbox/north.evaluation.json")
    assert first.exit_code == 0, first.output
    assert "This leaves the hospital, and nothing else:" in first.output
    assert "Nothing of classes with fewer than 10 images: 1." in first.output
    assert asked("south", "inbox/south.evaluation.json").exit_code == 0
    done = together("--out", "merged.json")
    assert done.exit_code == 0, done.output
    assert "2 sites, 112 images, with 95 % intervals:" in done.output
    found = json.loads((place / "merged.json").read_text())
    assert [one["site"] for one in found["sites"]] == ["north", "south"]
    assert [one["images"] for one in found["classes"]] == [56, 56, 0]
    north = json.loads((place / "inbox" / "north.evaluation.json").read_text())["evaluation"]
    assert found["accuracy"]["value"] == pytest.approx(north["accuracy"]["value"])


def test_the_newest_of_a_site_counts_and_strangers_do_not(place):
    assert asked("north", "inbox/1.evaluation.json").exit_code == 0
    assert asked("north", "inbox/2.evaluation.json", "--sequence", 2).exit_code == 0
    (place / "inbox" / "3.evaluation.json").write_text("{}")
    (place / "inbox" / "link.evaluation.json").symlink_to(place / "inbox" / "1.evaluation.json")
    done = together()
    assert "1 site, 56 images" in done.output
    assert "Passed over 1 of other students, or with newer ones." in done.output
    assert "refused: 3.evaluation.json" in done.output


def test_two_of_one_number_are_both_refused_and_copies_are_not(place):
    assert asked("north", "inbox/1.evaluation.json").exit_code == 0
    (place / "inbox" / "copy.evaluation.json").write_bytes(
        (place / "inbox" / "1.evaluation.json").read_bytes()
    )
    assert asked("south", "inbox/s.evaluation.json").exit_code == 0
    assert "2 sites, 112 images" in together().output
    assert asked("north", "inbox/2.evaluation.json", "--split", "all").exit_code == 0
    done = together()
    assert "1 site, 56 images" in done.output
    for name in ("1", "2"):
        wanted = f"refused: {name}.evaluation.json: north gave number 1 to several evaluations"
        assert wanted in done.output
    assert asked("north", "inbox/3.evaluation.json", "--sequence", 2).exit_code == 0
    assert "2 sites, 112 images" in together().output


def test_a_revoked_key_says_nothing_any_more(place):
    assert asked("north", "inbox/n.evaluation.json").exit_code == 0
    assert asked("south", "inbox/s.evaluation.json").exit_code == 0
    words = ("--study", "study.toml", "--folder", "server")
    revoked = run("server", "revoke", "north", *words, "--reason", "stolen")
    assert revoked.exit_code == 0, revoked.output
    done = together()
    assert "1 site, 56 images" in done.output
    assert "n.evaluation.json: the coordinator has revoked the key of north" in done.output


def test_an_evaluation_is_delivered_and_has_no_receipt(place):
    assert asked("north", "n.evaluation.json").exit_code == 0
    done = run("site", "deliver", "n.evaluation.json", "inbox")
    assert done.exit_code == 0, done.output
    assert "1 site, 56 images" in together().output


def test_collect_passes_evaluations_over(place):
    assert asked("north", "inbox/north.evaluation.json").exit_code == 0
    done = collected()
    assert done.exit_code == 0
    assert "an evaluation, which `envoi server evaluations` reads" in " ".join(done.output.split())


def test_what_does_not_belong_together_is_refused(place):
    foreign = asked("north", "n.evaluation.json", student="foreign.safetensors")
    assert foreign.exit_code == 3
    assert "expected a student of this study" in foreign.output
    assert asked("north", "north.json").exit_code == 2
    few = asked("north", "n.evaluation.json", "--split", "validation")
    assert few.exit_code == 3
    assert "a class of at least 10 images, found 6 at the most" in few.output
    assert not list(place.glob("*.evaluation.json"))
    assert together().exit_code == 3
    assert asked("north", "n.evaluation.json").exit_code == 0
    again = asked("north", "n.evaluation.json")
    assert again.exit_code == 3
    assert "an existing one" in again.output


def write_pictures(folder):
    """A folder without parts: thirty noisy squares of each of two classes."""
    draws = np.random.default_rng(1)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            picture = Image.fromarray(draws.integers(0, 256, (12, 12), np.uint8))
            picture.save(folder / name / f"{number}.png")


def test_the_part_is_told_and_a_folder_takes_the_file(place):
    done = asked("north", ".", "--sequence", 4)
    assert done.exit_code == 0, done.output
    assert (place / "north-4.evaluation.json").is_file()
    assert "Evaluated on 64 images of yours, its part test." in done.output
    assert "Whether your training has seen them was not looked for." in done.output
    assert "warning" not in done.stderr
    missing = asked("north", "nowhere")
    assert missing.exit_code == 2
    assert "a folder that exists, or a name that ends in .evaluation.json" in missing.stderr


@pytest.mark.parametrize("split", ["all", "train"])
def test_parts_that_train_are_warned_of(place, split):
    arrays = dict(np.load(place / "images.npz"))
    names = {"test": "train", "train": "test"}
    swapped = {names.get(k.split("_")[0], "val") + "_" + k.split("_")[1]: arrays[k] for k in arrays}
    np.savez(place / "images.npz", **swapped)
    done = asked("north", "n.evaluation.json", "--split", split)
    assert done.exit_code == 0, done.output
    assert "warning: images of the training may be among these" in done.stderr


def test_images_of_the_training_are_recognised(place):
    write_pictures(place / "pictures")
    data = ("--data", "pictures")
    done = asked("north", "n.evaluation.json", *data)
    assert done.exit_code == 0, done.output
    assert "Evaluated on 60 images of yours, all of the data, which has no parts of its own." in (
        done.output
    )
    assert "Give --work, your folder of the training, to have them looked for." in done.stderr
    site = ("--study", "study.toml", "--site", "north", "--work", "work")
    fast = ("--set", "epochs=1", "--set", "batch_size=16")
    assert run("site", "train", *site, *data, "--split", "train", *fast).exit_code == 0
    refused = asked("north", "m.evaluation.json", *data, "--work", "work")
    assert refused.exit_code == 3
    assert "expected images that no training has seen, found 4" in refused.stderr
    assert not (place / "m.evaluation.json").exists()
    held_out = asked("north", "o.evaluation.json", *data, "--work", "work", "--split", "test")
    assert "a class of at least 10 images" in held_out.stderr  # and not that they were seen
    allowed = ("--work", "work", "--allow-training-images")
    done = asked("north", "p.evaluation.json", *data, *allowed)
    assert done.exit_code == 0, done.output
    assert "of them your training was given: the student may know them" in done.stderr
    assert "and the metrics flatter it." in done.output
    done = asked("north", "q.evaluation.json", "--work", "work")
    assert "None of them is among the images of the training" in done.output


def test_where_nobody_has_evaluated_that_is_said(place):
    done = together()
    assert done.exit_code == 3
    assert "expected an evaluation of the student, found none" in done.stderr


@pytest.fixture
def signing(place):
    """The study names its server's key; the student is of that study."""
    assert run("server", "keygen", "--out", "server.key").exit_code == 0
    key = public_text(load_key(place / "server.key"))
    assert run("study", "set-server", "study.toml", "--receipts", key).exit_code == 0
    study = load_study(place / "study.toml")
    network = build("resnet10-small", channels=1, classes=3, seed=1)
    card = StudentCard("resnet10-small", study.classes, study.image, "envoi", study.digest)
    write_student(place / "student.safetensors", network, card)
    return place


def endorsed(key="server.key", student="student.safetensors"):
    return run("server", "endorse", student, "--study", "study.toml", "--key", key)


def test_a_signed_student_is_taken_and_none_that_was_swapped(signing):
    bare = asked("north", "n.evaluation.json")
    assert bare.exit_code == 4
    assert "expected student.safetensors.endorsement.json beside the student" in bare.output
    assert asked("north", "open.evaluation.json", "--unsigned").exit_code == 0
    done = endorsed()
    assert done.exit_code == 0, done.output
    assert f"sha256 {file_digest(signing / 'student.safetensors')}" in done.output
    taken = asked("north", "n.evaluation.json")
    assert taken.exit_code == 0, taken.output
    assert "The student is signed with the server's key " in taken.output
    content = bytearray((signing / "student.safetensors").read_bytes())
    content[-1] ^= 1
    (signing / "student.safetensors").write_bytes(content)
    swapped = asked("north", "s.evaluation.json")
    assert swapped.exit_code == 4
    assert "endorsement, SHA-256 of the student" in swapped.output
    assert not (signing / "s.evaluation.json").exists()


def test_only_the_server_signs_and_only_students_of_its_study(signing):
    assert "Give the server's own key" in endorsed("north.key").output
    foreign = endorsed(student="foreign.safetensors")
    assert "expected a student of this study" in foreign.output
    assert not list(signing.glob("*.endorsement.json"))
    assert endorsed(student="none.safetensors").exit_code == 3
