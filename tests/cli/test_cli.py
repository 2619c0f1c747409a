import os
import subprocess
import sys
import time
import warnings

import pytest
import typer
from typer.testing import CliRunner

import envoi
from envoi.cli import app
from envoi.cli.guard import guarded
from envoi.errors import CheckError, DataError, EnvoiWarning, Problem, SettingsError

runner = CliRunner()


def python(*arguments, **options):
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, **options
    )


def test_help_answers_at_once_and_loads_nothing_heavy():
    script = (
        "import sys, envoi.cli\n"
        "try: envoi.cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pydantic', 'rich', 'matplotlib', 'tomlkit'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)))"
    )
    found = python("-c", script)
    assert found.stdout.splitlines()[-1] == "loaded []"
    assert "study" in found.stdout

    def seconds():
        began = time.perf_counter()
        assert python("-m", "envoi", "--help").returncode == 0
        return time.perf_counter() - began

    assert min(seconds() for _ in range(3)) < 1.0


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["study"],
        ["study", "new"],
        ["data"],
        ["data", "pull"],
        ["site"],
        ["site", "train"],
        ["site", "submit"],
        ["server"],
        ["mri"],
        ["mri", "phantom"],
        ["mri", "prepare"],
    ],
)
def test_every_level_has_help(command):
    found = runner.invoke(app, [*command, "--help"])
    assert found.exit_code == 0
    assert "Usage: " in found.output


def test_version():
    found = runner.invoke(app, ["--version"])
    assert (found.exit_code, found.output) == (0, f"envoi {envoi.__version__}\n")


def test_wrong_usage_exits_with_2():
    found = python("-m", "envoi", "study", "check")
    assert found.returncode == 2
    assert "Missing argument" in found.stderr
    assert "Traceback" not in found.stderr
    assert python("-m", "envoi", "no-such-command").returncode == 2


def test_errors_are_lines_on_standard_error_with_their_exit_code(tmp_path):
    found = python("-m", "envoi", "study", "check", "nowhere.toml", cwd=tmp_path)
    assert found.returncode == 3
    assert found.stdout == ""
    assert found.stderr == (
        "error: nowhere.toml: expected a study file, found No such file or directory. "
        "Give the path of a study.toml.\n"
    )


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SettingsError(Problem("x", "y", "z", "Do.")), 2, "error: z: expected x, found y. Do."),
        (DataError(Problem("x", "y", "z", "Do.")), 3, "error: z: expected x, found y. Do."),
        (CheckError(Problem("x", "y", "z", "Do.")), 4, "error: z: expected x, found y. Do."),
        (KeyboardInterrupt("saved."), 130, "interrupted: saved."),
        (KeyboardInterrupt(), 130, "interrupted: Run the same command again; what is finished"),
        (MemoryError(), 3, "error: the memory of this machine is full."),
        (RuntimeError("can't allocate memory: 9"), 3, "error: the memory of this machine is full."),
        (OSError(28, "No space left on device"), 3, "error: the disk is full. Free some space"),
        (OSError(13, "Permission denied"), 3, "error: the system says: Permission denied."),
    ],
)
def test_each_end_has_its_line_and_exit_code(error, code, line, capsys):
    with pytest.raises(typer.Exit) as caught:
        guarded(raising(error))
    assert caught.value.exit_code == code
    assert capsys.readouterr().err.startswith(line)


def test_all_problems_are_said(capsys):
    problems = [Problem("x", "y", where, "Do.") for where in ("one", "two")]
    with pytest.raises(typer.Exit):
        guarded(raising(DataError(*problems)))
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("error", [RuntimeError("a bug"), BrokenPipeError(32, "Broken pipe")])
def test_bugs_and_broken_pipes_are_not_hidden(error):
    with pytest.raises(type(error)):
        guarded(raising(error))


def test_envoi_warnings_are_plain_lines(capsys):
    def command():
        warnings.warn("this site is small", EnvoiWarning, stacklevel=1)
        return 5

    assert guarded(command) == 5
    assert capsys.readouterr().err == "warning: this site is small\n"


def test_a_closed_pipe_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    job = subprocess.Popen(
        [sys.executable, "-m", "envoi", "--help"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert "Traceback" not in job.communicate(timeout=60)[1]
