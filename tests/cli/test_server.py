from datetime import UTC, datetime, timedelta

import pytest
from rich.text import Text
from typer.testing import CliRunner

from envoi.cli import app
from envoi.study import study_from, write_study
from envoi.submission import (
    Release,
    TrainingCard,
    generate_key,
    public_text,
    write_submission,
    write_withdrawal,
)

runner = CliRunner()
KEYS = {site: generate_key() for site in ("north", "south")}
COMMON = ["--study", "study.toml", "--folder", "server"]


def run(*arguments, **environment):
    return runner.invoke(app, [str(argument) for argument in arguments], env=environment)


def study_of(**changes):
    return study_from(
        {
            "name": "Cells",
            "classes": ["a", "b"],
            "minimum_sites": 2,
            "image": {"channels": 1, "size_px": 8},
            "model": {"architectures": ["resnet10-small"], "weight_format": "int8"},
            "sites": {site: public_text(key) for site, key in KEYS.items()},
            **changes,
        }
    )


def send(path, study, site, sequence=1):
    state = study.network().state_dict()
    release = Release(
        architecture="resnet10-small",
        state={name: tensor for name, tensor in state.items() if tensor.dim()},
        class_counts=(20, 30),
        card=TrainingCard(epochs=1, images=50),
    )
    write_submission(path, release, study=study, site=site, sequence=sequence, key=KEYS[site])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inbox").mkdir()
    write_study(tmp_path / "study.toml", study_of())
    return tmp_path


def rows(output):
    """The table as words of each row by file name."""
    words = [line.split() for line in output.splitlines() if line.startswith(" ")]
    return {line[0]: line[1:] for line in words if line}


def test_collect_tells_what_became_of_each_file(place):
    study = study_of()
    send(place / "inbox" / "1.st", study, "north")
    (place / "inbox" / "note.txt").write_text("hello")
    (place / "inbox" / "old").mkdir()
    found = run("server", "collect", "inbox", *COMMON)
    assert found.exit_code == 0, found.stderr
    table = rows(found.output)
    assert table["1.st"][:3] == ["north", "1", "received"]
    assert table["note.txt"][:2] == ["refused", "5"]
    assert "ignored: old: a folder" in found.output
    assert "1 of 2 sites: north" in found.output
    assert "missing: south" in found.output
    assert "minimum of 2 sites: not reached" in found.output

    send(place / "inbox" / "2.st", study, "south")
    found = run("server", "collect", "inbox", *COMMON)
    assert "minimum of 2 sites: reached" in found.output
    again = run("server", "status", *COMMON)
    assert again.exit_code == 0
    assert rows(again.output) == rows(found.output)


def test_markup_and_escapes_of_strangers_stay_text(place):
    (place / "inbox" / "[bold]x[link=evil]\x1b[2J").write_text("hello")
    found = run("server", "collect", "inbox", *COMMON)
    assert "[bold]x[link=evil]?[2J" in found.output
    assert "\x1b[2J" not in found.output


def test_withdrawals_of_a_site_and_of_the_coordinator(place):
    study = study_of()
    send(place / "inbox" / "1.st", study, "north")
    send(place / "inbox" / "2.st", study, "south")
    notice = place / "inbox" / "n.withdrawal.json"
    write_withdrawal(notice, study=study, site="north", sequence=1, key=KEYS["north"])
    found = run("server", "collect", "inbox", *COMMON)
    assert rows(found.output)["1.st"][:3] == ["north", "1", "withdrawn"]
    found = run("server", "withdraw", "south", *COMMON)
    assert found.exit_code == 0, found.stderr
    assert rows(found.output)["2.st"][:3] == ["south", "1", "withdrawn"]
    assert "0 of 2 sites: -" in found.output
    assert run("server", "withdraw", "nobody", *COMMON).exit_code == 3


def test_late_files_need_late(place):
    study = study_of(deadline=datetime.now(UTC) - timedelta(days=1))
    write_study(place / "study.toml", study)
    send(place / "inbox" / "1.st", study, "north")
    found = run("server", "collect", "inbox", *COMMON)
    assert "it came after the deadline" in found.output
    assert "UTC, passed" in found.output
    found = run("server", "collect", "inbox", *COMMON, "--late")
    assert rows(found.output)["1.st"][:3] == ["north", "1", "received"]


def test_what_is_missing_ends_in_a_line(place):
    found = run("server", "status", *COMMON)
    assert found.exit_code == 3
    assert "Run `envoi server collect` with this folder first" in found.stderr
    found = run("server", "collect", "nowhere", *COMMON)
    assert (found.exit_code, found.output.count("\n")) == (3, 1)
    run("server", "collect", "inbox", *COMMON)
    write_study(place / "study.toml", study_of(minimum_sites=1))
    found = run("server", "status", *COMMON)
    assert found.exit_code == 3
    assert "start a new folder: all sites send again" in found.stderr


def in_terminal(*arguments, columns):
    """Run as in a terminal of so many columns, without colours."""
    return run(*arguments, TTY_COMPATIBLE="1", NO_COLOR="1", TERM="xterm", COLUMNS=str(columns))


def test_in_a_narrow_terminal_names_are_whole_and_reasons_stand_under_the_table(place):
    send(place / "inbox" / "1.st", study_of(), "north")
    name = "submission-of-the-hospital-of-the-south-second-try.safetensors"
    (place / "inbox" / name).write_text("hello")
    (place / "inbox" / "copy.st").write_bytes((place / "inbox" / "1.st").read_bytes())
    found = in_terminal("server", "collect", "inbox", *COMMON, columns=80)
    assert found.exit_code == 0, found.stderr
    assert "\u2026" not in found.output
    lines = [line.rstrip() for line in Text.from_ansi(found.output).plain.splitlines()]
    assert max(map(len, lines)) <= 80
    reason = lines[lines.index(f"{name}:") + 1 :]
    assert reason[0].startswith("  expected a submission, found no submission but text. Take it")
    assert len(reason[0]) > 60
    assert "reason" not in found.output
    assert "ignored: copy.st: the same bytes as 1.st" in lines
    assert "1 of 2 sites: north" in lines
    assert "missing: south" in lines


def test_a_wide_terminal_and_a_narrow_one_with_nothing_to_explain_keep_one_table(place):
    send(place / "inbox" / "1.st", study_of(), "north")
    found = in_terminal("server", "collect", "inbox", *COMMON, columns=80)
    assert "reason" in found.output
    (place / "inbox" / "note.txt").write_text("hello")
    found = in_terminal("server", "collect", "inbox", *COMMON, columns=140)
    assert "reason" in found.output
    assert "note.txt:" not in found.output
