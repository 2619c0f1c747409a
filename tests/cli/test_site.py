import json
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from typer.testing import CliRunner

from envoi.checkpoint import Checkpoint
from envoi.cli import app
from envoi.cli.progress import following
from envoi.results import StepInfo
from envoi.study import load_study
from envoi.submission import load_key, open_submission, open_withdrawal, public_text

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def write_npz(path, count=60, classes=3):
    """Bright, dark and striped squares in MedMNIST's layout."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, size in (("train", count), ("val", 6), ("test", 6)):
        labels = np.arange(size) % classes
        images = np.array([200, 60, 130])[labels][:, None, None] + rng.normal(0, 12, (size, 12, 12))
        arrays[f"{part}_images"] = images.clip(0, 255).astype(np.uint8)
        arrays[f"{part}_labels"] = labels[:, None].astype(np.uint8)
    np.savez(path, **arrays)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a study of two sites, the key of north, and images."""
    monkeypatch.chdir(tmp_path)
    new = ["--name", "Cells", "--classes", "a,b,c", "--channels", 1, "--size", 12]
    options = ["--architecture", "resnet10-small", "--weight-format", "fp16"]
    assert run("study", "new", "study.toml", *new, *options).exit_code == 0
    text = (tmp_path / "study.toml").read_text()
    text = text.replace("epochs = 100", "epochs = 3").replace("batch_size = 128", "batch_size = 16")
    (tmp_path / "study.toml").write_text(text.replace("rate = 0.001", "rate = 0.05"))
    for site in ("north", "south"):
        line = run("site", "keygen", site).output.split(" = ")[1].split('"')[1]
        assert run("study", "add-site", "study.toml", site, line).exit_code == 0
    write_npz(tmp_path / "images.npz")
    return tmp_path


STUDY = ["--study", "study.toml", "--site", "north"]
TRAIN = ["site", "train", *STUDY, "--data", "images.npz", "--work", "work"]
SUBMIT = ["site", "submit", *STUDY, "--key", "north.key", "--work", "work"]


def trained_tensors(work):
    with safe_open(work / "trained.safetensors", framework="pt") as file:
        record = json.loads(file.metadata()["record"])
    return record, load_file(work / "trained.safetensors")


def test_keygen_makes_a_secret_file_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run("site", "keygen", "north-clinic")
    path = tmp_path / "north-clinic.key"
    assert found.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f'north-clinic = "{public_text(load_key(path))}"' in found.output
    assert "fingerprint " in found.output
    before = path.read_bytes()
    again = run("site", "keygen", "north-clinic")
    assert again.exit_code == 3
    assert "a file that does not exist yet" in again.stderr
    assert path.read_bytes() == before
    assert run("site", "keygen", "North Clinic").exit_code == 2


def test_a_site_trains_and_submits_one_file_that_the_study_takes(place):
    found = run(*TRAIN)
    assert found.exit_code == 0, found.stderr
    assert "60 images: a 20, b 20, c 20." in found.output
    assert "Accuracy on your own validation images: " in found.output
    assert sorted(path.name for path in (place / "work").iterdir()) == ["trained.safetensors"]

    found = run(*SUBMIT, "--out", ".")
    assert found.exit_code == 0, found.stderr
    assert "This leaves the hospital, and nothing else:" in found.output
    assert "How many images of each class: a 20, b 20, c 20." in found.output
    assert "Cost of the weight format fp16, on your own validation images: accuracy" in found.output
    sent = open_submission(place / "north-1.safetensors", study=load_study(place / "study.toml"))
    assert (sent.site, sent.sequence, sent.class_counts) == ("north", 1, (20, 20, 20))

    assert run(*SUBMIT, "--out", ".").exit_code == 0
    assert (place / "north-2.safetensors").exists()
    assert run(*SUBMIT, "--out", "mine.bin", "--sequence", 9).exit_code == 0
    assert run(*SUBMIT, "--out", ".").exit_code == 0
    assert (place / "north-10.safetensors").exists()


@pytest.mark.parametrize(("minimum", "told"), [(60, True), (61, False)])
def test_moments_leave_where_the_study_asks_for_them(place, minimum, told):
    text = (place / "study.toml").read_text()
    text = text.replace('["class_counts"]', '["class_counts", "feature_moments"]')
    text = text.replace("covariance_images = 1000", f"covariance_images = {minimum}")
    (place / "study.toml").write_text(text.replace("epochs = 3", "epochs = 1"))
    assert run(*TRAIN).exit_code == 0
    found = run(*SUBMIT, "--out", ".")
    assert "Whoever has the file can draw the coarse average image of each class" in found.output
    assert f"(only where at least {minimum} images stand behind it)" in found.output
    sent = open_submission(place / "north-1.safetensors", study=load_study(place / "study.toml"))
    assert sent.moments.means.any(dim=1).all()
    assert sent.moments.deviations.any()
    assert sent.moments.has_correlations == told


def test_a_finished_training_is_not_repeated_but_for_again(place):
    assert run(*TRAIN).exit_code == 0
    before = (place / "work" / "trained.safetensors").read_bytes()
    assert run(*TRAIN).exit_code == 0
    assert (place / "work" / "trained.safetensors").read_bytes() == before
    other = run(*TRAIN, "--seed", 4)
    assert other.exit_code == 3
    assert "add --again to drop that training" in other.stderr
    assert run(*TRAIN, "--seed", 4, "--again").exit_code == 0
    assert (place / "work" / "trained.safetensors").read_bytes() != before


def test_settings_can_be_changed_and_stand_on_the_card(place):
    found = run(*TRAIN, "--set", "epochs=1", "--set", "schedule=one-cycle")
    assert found.exit_code == 0, found.stderr
    record, _ = trained_tensors(place / "work")
    assert record["card"]["settings"]["schedule"] == "one-cycle"
    assert record["card"]["epochs"] == 1
    wrong = run(*TRAIN, "--set", "epoch=1")
    assert wrong.exit_code == 2
    assert "Did you mean 'epochs'?" in wrong.stderr
    word = run(*TRAIN, "--set", "epochs=a")
    assert "--set, epochs: expected a valid integer, found 'a'. Correct epochs." in word.stderr
    assert run(*TRAIN, "--set", "epochs").exit_code == 2
    assert run(*TRAIN, "--set", "epochs=0").exit_code == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--work", "taken"), 3, "taken: expected a folder, found a file of that name"),
        (("--work", "taken/below"), 3, "taken: expected a folder, found a file of that name"),
        (("--device", "tpu", "--data", "nothing"), 2, "--device: expected auto, cpu or cuda"),
        (("--seed", -1), 2, "'--seed'"),
    ],
)
def test_what_cannot_work_is_said_before_training(words, code, message, place, monkeypatch):
    (place / "taken").write_text("")
    monkeypatch.setattr("envoi.site.train", lambda *_, **__: pytest.fail("it trained"))
    found = run(*TRAIN, *words)
    assert (found.exit_code, message in found.stderr) == (code, True), found.stderr
    assert "space" not in found.stderr


def test_rows_choose_images_and_absent_classes_are_told(place):
    (place / "rows.txt").write_text("\n".join(str(row) for row in range(60) if row % 3 < 2))
    found = run(*TRAIN, "--rows", "rows.txt")
    assert found.exit_code == 0, found.stderr
    assert "40 images: a 20, b 20, c 0." in found.output
    assert "warning: no image of c; other sites may have some." in found.stderr


def write_pictures(folder, size=12):
    """Bright, dark and middling squares, a folder for each class; file names as in a table."""
    rng = np.random.default_rng(1)
    names = []
    for label, (name, grey) in enumerate((("a", 200), ("b", 60), ("c", 130))):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            file = folder / name / f"{number}.png"
            Image.fromarray(rng.integers(grey - 9, grey + 9, (size, size), np.uint8)).save(file)
            names.append((f"{name}/{number}.png", name, f"p{number}-{label}", number))
    return names


def test_a_folder_without_parts_trains_on_all_of_it(place):
    write_pictures(place / "pictures")
    found = run(*TRAIN, "--data", "pictures")
    assert found.exit_code == 0, found.stderr
    assert "24 images: a 8, b 8, c 8." in found.output


def test_a_table_with_parts_of_its_own_keeps_its_test_images_unseen(place):
    rows = write_pictures(place / "pictures")
    parts = ["test" if number == 7 else "train" for *_, number in rows]
    lines = [
        f"{path},{label},{who},{part}"
        for (path, label, who, _), part in zip(rows, parts, strict=True)
    ]
    table = place / "pictures" / "list.csv"
    table.write_text("\n".join(["path,label,case_id,split", *lines]))
    column = ["--column", "patient=case_id"]
    found = run(*TRAIN, "--data", table, *column)
    assert found.exit_code == 0, found.stderr
    assert "21 images: a 7, b 7, c 7." in found.output
    found = run(*TRAIN, "--data", table, *column, "--split", "all", "--work", "all")
    assert "24 images: a 8, b 8, c 8." in found.output
    found = run(*TRAIN, "--data", table, "--column", "person=case_id")
    assert (found.exit_code, "--column: expected MEANING=NAME" in found.stderr) == (2, True)


def test_a_site_of_one_patient_or_one_row_trains_with_a_warning(place):
    rows = write_pictures(place / "pictures")
    table = place / "pictures" / "list.csv"
    lines = [f"{path},{label},p" for path, label, *_ in rows]
    for count, found in ((len(rows), "images of one patient"), (1, "one image")):
        table.write_text("\n".join(["path,label,patient", *lines[:count]]))
        done = run(*TRAIN, "--data", table, "--work", f"work-{count}")
        assert done.exit_code == 0, done.stderr
        assert f"warning: The site has only {found}" in done.stderr


def test_other_sizes_are_refused_unless_permitted(place):
    write_pictures(place / "pictures", size=20)
    found = run(*TRAIN, "--data", "pictures")
    assert found.exit_code == 3
    assert "12" in found.stderr
    assert "permit it with --fit resize or --fit crop" in found.stderr
    assert run(*TRAIN, "--data", "pictures", "--fit", "resize").exit_code == 0


@pytest.mark.parametrize("text", ["0\n60\n", "1\n1\n", "x", ""])
def test_wrong_rows_are_refused(place, text):
    (place / "rows.txt").write_text(text)
    found = run(*TRAIN, "--rows", "rows.txt")
    assert found.exit_code == 3
    assert "rows.txt: expected numbers from 0 to 59" in found.stderr


def test_one_image_trains_with_a_warning_and_submits(place):
    (place / "rows.txt").write_text("7")
    found = run(*TRAIN, "--rows", "rows.txt")
    assert found.exit_code == 0, found.stderr
    assert "warning: The site has only one image" in found.stderr
    found = run(*SUBMIT, "--out", ".")
    assert found.exit_code == 0, found.stderr
    assert "unknown, nothing validated" in found.output
    assert "a 0, b 0, c 0" in found.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "nowhere.npz"], 3, "nowhere.npz"),
        (["--data", "study.toml"], 2, "expected images, found a file ending in '.toml'"),
        (["--data", "nowhere"], 2, "expected images, found nothing"),
        (["--split", "half"], 2, "expected one of train, validation, test, all, found 'half'"),
        (["--architecture", "vgg8"], 3, "found 'vgg8'"),
        (["--device", "abacus"], 2, "expected auto, cpu or cuda, found 'abacus'"),
        (["--fit", "stretch"], 2, "expected one of exact, resize, crop"),
        (["--set", "batch_size=1"], 2, "Use larger batches"),
        (["--set", "momentum=-1"], 2, "--set, momentum: expected 0 up to below 1, found -1"),
        (["--set", "milestones=[5, -2]"], 2, "Give fractions of all epochs"),
        (["--set", "rate=1e8"], 2, "Lower the learning rate: training has diverged"),
        (["--study", "nowhere.toml"], 3, "nowhere.toml"),
    ],
)
def test_bad_input_ends_in_a_line_and_leaves_nothing(place, arguments, code, message):
    found = run(*TRAIN, *arguments)
    assert found.exit_code == code
    assert message in found.stderr
    assert not (place / "work").exists()


def test_a_slip_in_the_sites_name_is_told_before_anything_is_trained(place):
    line = run("site", "keygen", "west-clinic-7").output.split(" = ")[1].split('"')[1]
    assert run("study", "add-site", "study.toml", "west-clinic-7", line).exit_code == 0
    for slip, meant in (("norht", "north"), ("wset", "west-clinic-7"), ("nroth-x", "north")):
        found = run(*[word if word != "north" else slip for word in TRAIN])
        assert found.exit_code == 3, slip
        assert f"Did you mean '{meant}'?" in found.stderr
    assert not (place / "work").exists()


def test_a_prepared_set_is_taken_as_a_folder(place):
    (place / "set" / "images").mkdir(parents=True)
    (place / "set" / "prepared.json").write_text("{}")
    lines = ["path,label"]
    for number in range(30):
        grey = np.full((12, 12), 60 * (number % 3), np.uint8)
        Image.fromarray(grey).save(place / "set" / "images" / f"{number}.png")
        lines.append(f"images/{number}.png,{'abc'[number % 3]}")
    words = [word if word != "images.npz" else "set" for word in TRAIN]
    found = run(*words)
    assert found.exit_code == 3
    assert "set: expected a finished set, found one without its table" in found.stderr
    (place / "set" / "labels.csv").write_text("\n".join(lines))
    found = run(*words)
    assert found.exit_code == 0, found.stderr
    assert "30 images: a 10, b 10, c 10." in found.output


def test_a_site_whose_counts_all_stay_is_warned(place):
    (place / "rows.txt").write_text("\n".join(map(str, range(27))))
    found = run(*TRAIN, "--rows", "rows.txt")
    assert found.exit_code == 0, found.stderr
    assert "warning: No class has 10 images: all counts are told as 0" in found.stderr
    assert "told as 0" not in run(*TRAIN, "--again").stderr


def test_a_site_outside_the_roster_trains_by_permission_and_cannot_submit(place):
    other = [word if word != "north" else "east" for word in TRAIN]
    found = run(*other)
    assert found.exit_code == 3
    assert (
        "--site: expected a site of the study's roster, found 'east'. It has north, south. A"
        in (found.stderr)
    )
    assert not (place / "work").exists()
    found = run(*other, "--allow-unlisted-site")
    assert found.exit_code == 0, found.stderr
    assert "warning: 'east' is not in the study's roster (yet)." in found.stderr
    east = [word if word != "north" else "east" for word in SUBMIT]
    found = run(*east, "--out", ".")
    assert found.exit_code == 3
    assert "found no such site" in found.stderr
    assert not list(place.glob("*.safetensors"))


def test_a_study_without_a_roster_trains_anybody_with_a_warning(place):
    text = (place / "study.toml").read_text()
    (place / "study.toml").write_text(text[: text.index("[sites]")])
    found = run(*TRAIN, "--set", "epochs=1")
    assert found.exit_code == 0, found.stderr
    assert "warning: 'north' is not in the study's roster (yet)." in found.stderr


def test_submit_refuses_what_would_harm(place):
    assert "Run `envoi site train`" in run(*SUBMIT, "--out", ".").stderr
    run(*TRAIN)
    assert "found another key" in run(*SUBMIT, "--key", "south.key", "--out", ".").stderr
    (place / "taken").write_text("precious")
    found = run(*SUBMIT, "--out", "taken")
    assert found.exit_code == 3
    assert "taken: expected a new file, found an existing one" in found.stderr
    assert (place / "taken").read_text() == "precious"


def test_a_working_folder_is_signed_as_its_own_site_alone(place):
    run(*TRAIN)
    south = ["--study", "study.toml", "--site", "south", "--work", "work"]
    submit = ["site", "submit", *south, "--key", "south.key", "--out", "."]
    found = run(*submit)
    assert found.exit_code == 3
    assert "expected the working folder of south, found that of north" in found.stderr
    assert not list(place.glob("*.safetensors"))
    run(*SUBMIT, "--out", ".")
    train = ["site", "train", *south, "--data", "images.npz", "--again"]
    for command in (train, ["site", "withdraw", *south, "--key", "south.key", "--out", "."]):
        found = run(*command)
        assert found.exit_code == 3
        assert "expected the working folder of south, found that of north" in found.stderr
    assert (place / "work" / "trained.safetensors").exists()


def test_a_number_is_used_once(place):
    run(*TRAIN)
    assert run(*SUBMIT, "--out", ".", "--sequence", 4, "--key", "south.key").exit_code == 3
    assert run(*SUBMIT, "--out", ".", "--sequence", 4).exit_code == 0
    for number in (4, 2):
        found = run(*SUBMIT, "--out", "again.safetensors", "--sequence", number)
        assert found.exit_code == 2
        assert f"--sequence: expected a number above 4, that of the last file, found {number}" in (
            found.stderr
        )
    assert not (place / "again.safetensors").exists()


def test_a_name_that_ends_in_a_slash_is_a_folder(place):
    run(*TRAIN)
    assert run(*SUBMIT, "--out", "new/").exit_code == 0
    assert (place / "new" / "north-1.safetensors").is_file()
    withdraw = ["site", "withdraw", *STUDY, "--key", "north.key", "--work", "work"]
    assert run(*withdraw, "--out", "deep/er/").exit_code == 0
    assert (place / "deep" / "er" / "north-1.withdrawal.json").is_file()


def test_nothing_of_the_machine_is_in_the_file(place, monkeypatch):
    planted = place / "planted-folder-of-dr-who"
    planted.mkdir()
    (place / "images.npz").rename(planted / "planted-images.npz")
    monkeypatch.setenv("USER", "planted-user")
    monkeypatch.setattr(socket, "gethostname", lambda: "planted-machine")
    data = ["--data", planted / "planted-images.npz", "--work", planted / "work"]
    assert run(*TRAIN, *data).exit_code == 0
    assert run(*SUBMIT, "--work", planted / "work", "--out", ".").exit_code == 0
    content = (place / "north-1.safetensors").read_bytes()
    for secret in (b"planted", str(place).encode()):
        assert secret not in content


def test_a_site_withdraws_up_to_its_last_number(place):
    assert run("site", "withdraw", *STUDY, "--key", "north.key", "--out", ".").exit_code == 2
    run(*TRAIN)
    run(*SUBMIT, "--out", ".")
    withdraw = ["site", "withdraw", *STUDY, "--key", "north.key", "--work", "work"]
    found = run(*withdraw, "--out", ".")
    assert found.exit_code == 0, found.stderr
    study = load_study(place / "study.toml")
    notice = open_withdrawal(place / "north-1.withdrawal.json", study=study)
    assert (notice.site, notice.sequence) == ("north", 1)
    assert run(*withdraw, "--out", "notice.json").exit_code == 2
    assert run(*withdraw, "--out", ".").exit_code == 3


def start(place):
    command = [sys.executable, "-m", "envoi", *TRAIN, "--save-seconds", "0", "--set", "epochs=12"]
    return subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_progress(place, job, before):
    """Wait until the job has written a checkpoint other than `before`."""
    path = place / "work" / "training.safetensors"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and job.poll() is None:
        if path.exists() and path.read_bytes() != before:
            return path.read_bytes()
        time.sleep(0.01)
    raise AssertionError(job.communicate())


@pytest.mark.slow
def test_interrupted_and_killed_it_goes_on_to_the_same_weights(place):
    job = start(place)
    saved = wait_for_progress(place, job, b"")
    job.send_signal(signal.SIGINT)
    _, lines = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "interrupted: progress is saved; run the same command again to go on" in lines
    assert "Traceback" not in lines
    assert not (place / "work" / "trained.safetensors").exists()

    saved = (place / "work" / "training.safetensors").read_bytes()
    job = start(place)
    wait_for_progress(place, job, saved)
    job.kill()
    job.communicate(timeout=60)
    assert job.returncode == -signal.SIGKILL

    found = run(*TRAIN, "--set", "epochs=12")
    assert found.exit_code == 0, found.stderr
    assert not (place / "work" / "training.safetensors").exists()
    assert run(*TRAIN, "--set", "epochs=12", "--work", "whole").exit_code == 0
    found, tensors = trained_tensors(place / "work")
    wanted, expected = trained_tensors(place / "whole")
    assert found["card"] == wanted["card"]
    assert tensors.keys() == expected.keys()
    assert all((tensors[name] == expected[name]).all() for name in tensors)


def test_the_first_signal_has_the_step_saved_and_then_stops(tmp_path):
    checkpoint = Checkpoint(tmp_path / "c.safetensors", every_seconds=1e9)
    usual = signal.getsignal(signal.SIGINT)
    done = []

    def steps(on_step):
        for step in range(1, 9):
            done.append(step)
            checkpoint.offer(dict)
            on_step(StepInfo("x", step, 8, {"loss": 1.0}))
            if step == 3:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="progress is saved"), following() as on:
        steps(on)
    assert done == [1, 2, 3, 4]
    assert checkpoint.load() == {}
    assert signal.getsignal(signal.SIGINT) is usual


def test_a_signal_between_offer_and_report_waits_for_the_next_offer(tmp_path, monkeypatch):
    checkpoint, done = Checkpoint(tmp_path / "c.safetensors"), []

    @contextmanager
    def signalling(console):
        yield lambda info: signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("envoi.cli.progress._lines", signalling)

    def steps(on_step):
        for step in range(1, 9):
            done.append(step)
            checkpoint.offer(lambda step=step: {"step": torch.tensor(step)})
            on_step(StepInfo("x", step, 8, {"loss": 1.0}))

    with pytest.raises(KeyboardInterrupt, match="progress is saved"), following() as on:
        steps(on)
    assert (done, int(checkpoint.load()["step"])) == ([1, 2], 2)


def test_a_second_signal_stops_at_once():
    def impatient():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError

    with pytest.raises(KeyboardInterrupt), following():
        impatient()


def test_log_files_get_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr("envoi.cli.progress._LINE_SECONDS", 0.0)
    with following() as on_step:
        for step in (49, 50):  # the time left is told from the second step on
            on_step(StepInfo("north/train", step, 200, {"loss": 0.25}, epoch=2))
    line = capsys.readouterr().err
    assert line.startswith("north/train, epoch 2: loss 0.25, step 50 of 200, about ")
    assert line.endswith(" s left\n")


def test_where_there_are_no_epochs_none_are_told(capsys, monkeypatch):
    monkeypatch.setattr("envoi.cli.progress._LINE_SECONDS", 0.0)
    with following() as on_step:
        for step in (49, 50):
            on_step(StepInfo("joint", step, 200, {"slab": 0.25}))
        for step in (1, 2):
            on_step(StepInfo("draw", step, 4, {}))
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("joint: slab 0.25, step 50 of 200, about ")
    assert last.startswith("draw: step 2 of 4, about ")
