import importlib.util

import pytest
from typer.testing import CliRunner

from envoi.cli import app
from envoi.study import study_from, write_study
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
        told = "nvflare: expected NVIDIA FLARE 2.9, found none. Run `pip install 'envoi[flare]'`."
        assert result.output.splitlines() == [f"error: {told}"]


def test_a_folder_that_is_no_kit_is_told(study_file):
    result = run("status", "--server", ".", "--coordinator", ".")
    assert result.exit_code == 3
    assert "expected a kit, found a folder without one" in result.output


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
