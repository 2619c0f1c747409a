"""docs/pacs.md: its options exist, its Python runs, its figures are those of the code."""

import re
from pathlib import Path

from typer.testing import CliRunner

from envoi.cli import app
from envoi.data.dicom.pseudonyms import new_pseudonym_key
from envoi.data.pacs.allowed import ALLOWED, WRITTEN
from envoi.data.pacs.pace import Patience

PAGE = (Path(__file__).parents[1] / "docs" / "pacs.md").read_text()


def test_its_options_exist():
    runner = CliRunner()
    commands = (["pull"], ["keygen"], ["prepare", "dicom"])
    texts = (runner.invoke(app, ["data", *words, "--help"]).output for words in commands)
    known = set(re.findall(r"--[a-z][a-z-]+", " ".join(texts)))
    named = set(re.findall(r"--[a-z][a-z-]+", PAGE))
    assert len(named) > 15
    assert named <= known


def test_its_python_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    new_pseudonym_key(Path("pseudonyms.key"))
    exec(compile(code, "docs/pacs.md", "exec"), {})


def test_its_figures_are_those_of_the_code():
    patience = Patience()
    waits = [patience.first_wait_seconds * 2**number for number in range(patience.tries - 1)]
    assert waits == [1, 2, 4, 8, 16]
    assert "waits 1, 2, 4, 8 and 16 seconds" in PAGE
    assert patience.longest_wait_seconds == 60
    assert f"`--per-second` ({patience.per_second:g})" in PAGE
    assert 90 <= len(ALLOWED.keys() | WRITTEN.keys()) <= 120
