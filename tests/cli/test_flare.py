import importlib.util

import pytest
from typer.testing import CliRunner

from envoi.cli import app
from envoi.networks import build
from envoi.server.student import StudentCard, write_student
from envoi.study import load_study, study_from, write_study
from envoi.submission import generate_key, public_text

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, ["flare", *(str(argument) for argument in arguments)])


@pytest.fixture
def study_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = study_from(
        {
            "name": "Cells",
            "classes": ["a", "b"],
            "minimum_sites": 1,
            "image": {"channels": 1, "size_px": 8},
            "model": {"architectures": ["resnet10-small"]},
            "sites": {"north": public_text(generate_key())},
        }
    )
    write_study(tmp_path / "study.toml", study)
    return tmp_path / "study.toml"


def test_without_flare_one_line_names_the_extra(study_file, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for command in (
        ["provision", study_file, "--out", "kits", "--host", "localhost"],
        ["start", "kits/north"],
    ):
        result = run(*command)
        assert result.exit_code == 3
        remedy = "In Envoi's repository run `pip install '.[flare]'`."
        told = f"nvflare: expected NVIDIA FLARE 2.9, found none. {remedy}"
        assert result.output.splitlines() == [f"error: {told}"]


def test_a_folder_that_is_no_kit_is_told(study_file):
    result = run("status", "--server", ".", "--coordinator", ".")
    assert result.exit_code == 3
    assert "expected a kit, found a folder without one" in result.output


@pytest.fixture
def kits(study_file, tmp_path):
    """Kits as far as commands look at them that start nothing: no certificates."""
    for name, role in (("server", "fed_server.json"), ("coordinator", "fed_admin.json")):
        (tmp_path / name / "startup").mkdir(parents=True)
        (tmp_path / name / "startup" / role).write_text("{}")
        (tmp_path / name / "local").mkdir()
        (tmp_path / name / "local" / "study.toml").write_bytes(study_file.read_bytes())
        (tmp_path / name / "local" / "envoi.toml").write_text('inbox = "inbox"\n')
    return ("--server", "server", "--coordinator", "coordinator")


def student_of(folder, study):
    network = build("resnet10-small", channels=1, classes=2, seed=1)
    card = StudentCard("resnet10-small", ("a", "b"), study.image, "envoi", study.digest)
    write_student(folder / "student.safetensors", network, card)
    return "student.safetensors"


@pytest.mark.flare
def test_a_student_that_sites_could_not_check_is_not_sent(study_file, tmp_path, kits):
    pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed")
    student = student_of(tmp_path, load_study(study_file))
    unnamed = run("send", student, *kits)
    assert unnamed.exit_code == 3
    assert "expected a study that names its server's key, found none" in unnamed.output
    key = generate_key()
    set_server = ["study", "set-server", "study.toml", "--receipts", public_text(key)]
    assert runner.invoke(app, set_server).exit_code == 0
    for name in ("server", "coordinator"):
        (tmp_path / name / "local" / "study.toml").write_bytes(study_file.read_bytes())
    foreign = run("send", student, *kits)
    assert foreign.exit_code == 3
    assert "expected a student of this study" in foreign.output
    student = student_of(tmp_path, load_study(study_file))
    unsigned = run("send", student, *kits)
    assert unsigned.exit_code == 4
    assert "expected student.safetensors.endorsement.json beside it" in unsigned.output
    (tmp_path / f"{student}.endorsement.json").write_text("{}")
    assert run("send", student, *kits).exit_code == 4
    assert run("send", student, *kits, "--site", "east").exit_code == 2
    assert not (tmp_path / "server" / "students").exists()


def test_one_kind_at_a_time_is_asked_for(study_file, tmp_path, kits):
    student = student_of(tmp_path, load_study(study_file))
    both = run("run", *kits, "--evaluations", student, "--withdrawals")
    assert both.exit_code == 2
    assert "expected one of them, found --evaluations and --withdrawals" in both.output
    both = run("status", *kits, "--sent", student, "--withdrawals")
    assert "expected one of them, found --sent and --withdrawals" in both.output
    missing = run("run", *kits, "--evaluations", "none.safetensors")
    assert missing.exit_code == 3
    assert "expected a student" in missing.output


@pytest.mark.flare
def test_kits_are_made_and_named(study_file, tmp_path):
    pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed")
    result = run("provision", study_file, "--out", "kits", "--host", "localhost")
    assert result.exit_code == 0
    assert [line.split(":")[0] for line in result.output.splitlines()] == [
        "server",
        "north",
        "coordinator",
        ".authority",
        "Bring each kit to its party by a way that nobody else can read.",
    ]
    assert (tmp_path / "kits" / "north" / "startup" / "client.key").exists()
    told = run("status", "--server", "kits/server", "--coordinator", "kits/coordinator")
    assert told.output.startswith("north: nothing delivered; the server does not answer")
