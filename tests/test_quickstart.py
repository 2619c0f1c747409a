"""docs/quickstart.md, run as it stands: each command, and what it is said to print."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

DOCUMENT = Path(__file__).parent.parent / "docs" / "quickstart.md"
PRELUDE = 'envoi() { "$PYTHON" -m envoi "$@"; }\npython() { "$PYTHON" "$@"; }\n'
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What differs from run to run, or from one processor to another.
MASKS = (
    (re.compile(r"ed25519:[A-Za-z0-9+/]{43}="), "KEY"),
    (re.compile(r"(?:[0-9a-f]{4}-){4}[0-9a-f]{4}"), "FINGERPRINT"),
    (re.compile(r"[0-9a-f]{12,64}"), "DIGEST"),
    (re.compile(r"\d{4}-\d{2}-\d{2}"), "DATE"),
    (re.compile(r"\d{2}:\d{2} UTC"), "TIME"),
    (re.compile(r"[+-]?\d+\.\d+"), "NUMBER"),
    (re.compile(r"\d+(?= of \d+ people)"), "COUNT"),
    (re.compile(r"(?<=its user: )\d+ of \d+ looked for( \([^)]*\))?"), "COUNTS"),
)


def walk() -> list[tuple[str, str | None]]:
    """Each shell block of the document, with the text block that follows it at once."""
    blocks = BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert {kind for kind, _ in blocks} == {"sh", "text"}
    following = [*blocks[1:], ("", "")]
    return [
        (content, printed if after == "text" else None)
        for (kind, content), (after, printed) in zip(blocks, following, strict=True)
        if kind == "sh"
    ]


def run(block: str, folder: Path) -> str:
    """What the commands of a block print, run by bash in `folder`."""
    settings = {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    surroundings = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", PRELUDE + block],
        cwd=folder,
        env={**surroundings, **settings},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{block}\nended with {done.returncode}:\n{done.stderr}"
    return done.stdout


def masked(text: str) -> list[str]:
    """The lines of a text, without blank ones, trailing blanks and what differs by run."""
    for pattern, name in MASKS:
        text = pattern.sub(name, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.slow
def test_the_walk_ends_as_the_document_says(tmp_path):
    for block, printed in walk():
        found = run(block, tmp_path)
        if printed is not None:
            assert masked(found) == masked(printed), block
        if "envoi server distil" in block:
            student = tmp_path / "coordinator" / "run" / "fedisca.safetensors"
            report = tmp_path / "coordinator" / "run" / "report.html"
            assert student.stat().st_size > 100_000
            with safe_open(student, framework="numpy") as opened:
                told = json.loads(opened.metadata()["student"])
            assert set(told) == {"architecture", "class_names", "image", "method", "study"}
            assert told["architecture"] == "convnet-small"
            assert "north-clinic" in report.read_text(encoding="utf-8")
            assert str(tmp_path) not in report.read_text(encoding="utf-8")
    kept = {file.name for file in (tmp_path / "coordinator" / "server" / "accepted").iterdir()}
    assert kept == {"north-clinic-1.safetensors"}


def test_every_command_of_the_path_is_walked():
    typed = "\n".join(block for block, _ in walk())
    for command in ("study new", "study add-site", "study set-server", "study check", "report"):
        assert f"envoi {command} " in typed
    for command in ("site keygen", "site train", "site submit", "site withdraw"):
        assert f"envoi {command} " in typed
    for command in ("site deliver", "site verify-receipt", "server keygen"):
        assert f"envoi {command} " in typed
    for command in ("server collect", "server distil", "predict"):
        assert f"envoi {command} " in typed
