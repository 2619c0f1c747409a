"""`envoi server distil`: words in, exit codes and files out."""

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from envoi.cli import app
from envoi.results import RunFolder
from envoi.server.collect import collect
from envoi.study import study_from, write_study
from envoi.submission import Release, TrainingCard, generate_key, public_text, write_submission

runner = CliRunner()
KEY = generate_key()
STUDY = study_from(
    {
        "name": "Cells",
        "classes": ["a", "b"],
        "minimum_sites": 1,
        "image": {"channels": 1, "size_px": 8},
        "model": {"architectures": ["resnet10-small"], "weight_format": "fp16"},
        "sites": {"north": public_text(KEY)},
    }
)


def distil(*words):
    common = ["--study", "study.toml", "--folder", "server", "--out", "run", "--budget", "smoke"]
    return runner.invoke(app, ["server", "distil", *common, *map(str, words)])


def send(sequence=1):
    state = {n: t for n, t in STUDY.network().state_dict().items() if t.dim()}
    card = TrainingCard(epochs=1, images=50)
    release = Release("resnet10-small", state, class_counts=(20, 30), card=card)
    file = Path(f"inbox/north-{sequence}.safetensors")
    write_submission(file, release, study=STUDY, site="north", sequence=sequence, key=KEY)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A server's folder with one accepted file, and public test images."""
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path / "study.toml", STUDY)
    (tmp_path / "inbox").mkdir()
    send()
    collect(tmp_path / "inbox", tmp_path / "server", study=STUDY)
    write_images(tmp_path / "public.npz", size_px=8)
    return tmp_path


def write_images(path, *, size_px):
    rng = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "val", "test"):
        arrays[f"{part}_images"] = rng.integers(0, 256, (6, size_px, size_px), dtype=np.uint8)
        arrays[f"{part}_labels"] = np.arange(6)[:, None] % 2
    np.savez(path, **arrays)


def test_students_of_this_command_are_listed(place):
    found = distil("--method", "fedavg,ensemble_size", "--test", "public.npz")
    assert found.exit_code == 0, found.stderr
    listed = ["student: run/fedavg.safetensors", "report: run/report.html"]
    assert found.output.splitlines()[1:] == listed  # the first counts the test images
    found = distil("--method", "ensemble_size", "--test", "public.npz")
    none = "no student: these methods make no single network"
    assert found.output.splitlines()[1:] == [none, "report: run/report.html"]
    assert "Weight average, one shot" in (place / "run/report.html").read_text()


def test_an_outsiders_method_makes_a_student_as_any_other(place, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    name = "examples.largest_site:LargestSite"
    found = distil("--method", f"fedavg,{name}", "--test", "public.npz")
    assert found.exit_code == 0, found.stderr
    assert set(RunFolder(place / "run").result().methods) >= {"fedavg", name}
    students = [line for line in found.output.splitlines() if line.startswith("student: ")]
    assert len(students) == 2
    for line in students:
        file = place / line.removeprefix("student: ")
        assert file.is_file()
    assert "LargestSite" in (place / "run/report.html").read_text()
    missing = distil("--method", "examples.largest_site:SmallestSite")
    assert (missing.exit_code, "package.module:Name" in missing.stderr) == (3, True)


@pytest.mark.parametrize("method", ["fedisca", "fedisca_none"])
def test_the_first_signal_saves_the_step_and_the_same_command_goes_on(method, place, monkeypatch):
    """Checkpoints are written every 20 s, and this is over sooner."""
    told = []

    def signalled(run, on_step):
        def tell(info):
            told.append(info.step)
            on_step(info)
            if info.step == 3:
                signal.raise_signal(signal.SIGINT)

        return tell

    monkeypatch.setattr("envoi.server.run.logged", signalled)
    found = distil("--method", f"fedavg,{method}")
    assert (found.exit_code, told) == (130, [1, 2, 3, 4])
    assert "interrupted: progress is saved; run the same command again" in found.stderr
    monkeypatch.setattr("envoi.server.run.logged", lambda run, on_step: told.append)
    assert distil("--method", f"fedavg,{method}").exit_code == 0
    assert told[4].step == 5


def test_names_of_refused_files_are_told_to_the_coordinator_alone(place):
    name = "Jane_Doe_1970.txt"
    (place / "inbox" / name).write_text("hello")
    common = ["--study", "study.toml", "--folder", "server"]
    told = runner.invoke(app, ["server", "collect", "inbox", *common])
    assert name in told.output
    assert distil("--method", "fedavg").exit_code == 0
    (refusal,) = RunFolder(place / "run").result().refusals
    assert refusal.number == 1
    assert "found no submission but text" in refusal.reason
    for file in (place / "run").rglob("*"):
        assert file.is_dir() or b"Jane_Doe" not in file.read_bytes()
    assert "file 1" in (place / "run" / "report.html").read_text()


def test_a_method_that_cannot_work_leaves_the_folder_to_other_settings(place):
    found = distil("--method", "closed_form")
    assert (found.exit_code, "expected moments of every site" in found.stderr) == (3, True)
    assert not (place / "run").exists()
    assert distil("--method", "fedavg", "--seed", 5).exit_code == 0
    kept = {file.name for file in (place / "run").iterdir()}
    assert distil("--method", "closed_form", "--seed", 5).exit_code == 3
    assert {file.name for file in (place / "run").iterdir()} == kept


def test_what_a_method_made_before_another_failed_is_kept(place):
    assert distil("--method", "fedavg,closed_form").exit_code == 3
    assert (place / "run" / "fedavg.safetensors").exists()


def test_a_file_in_place_of_the_run_is_told(place):
    before = (place / "study.toml").read_bytes()
    found = distil("--method", "fedavg", "--out", "study.toml")
    assert (found.exit_code, "study.toml: expected a folder, found a file" in found.stderr) == (
        3,
        True,
    )
    assert (place / "study.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "message"),
    [("abacus", "expected auto, cpu or cuda"), ("cuda", "expected a GPU that PyTorch can use")],
)
def test_devices_that_are_not_there_are_told(name, message, place, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = distil("--method", "fedavg", "--device", name)
    assert (found.exit_code, message in found.stderr) == (2, True)
    assert distil("--method", "fedavg", "--device", "cpu").exit_code == 0
    environment = RunFolder(place / "run").result().environment
    assert environment["device"].endswith("threads")


def test_a_replaced_file_is_said(place):
    assert distil("--method", "fedavg").exit_code == 0
    send(sequence=2)
    collect(place / "inbox", place / "server", study=STUDY)
    found = distil("--method", "fedavg")
    assert found.exit_code == 2
    assert "others (files." in found.stderr
    shutil.rmtree(place / "run")
    assert distil("--method", "fedavg").exit_code == 0


def test_test_images_of_another_size_are_refused(place):
    write_images(place / "large.npz", size_px=12)
    found = distil("--method", "fedavg", "--test", "large.npz")
    assert found.exit_code == 3
    assert "expected images of 1 channels and 8 pixels" in found.stderr
    assert not (place / "run").exists()
