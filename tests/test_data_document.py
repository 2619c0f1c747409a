"""docs/data.md: its commands exist with the options that they are printed with."""

import re
from pathlib import Path

import pytest
import typer.main

from envoi.cli import app
from envoi.data.public_sets import _BY_HAND, _MEDMNIST

PAGE = (Path(__file__).parent.parent / "docs" / "data.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split()
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
]


def command_of(words):
    command = typer.main.get_command(app)
    for word in words:
        if word not in getattr(command, "commands", {}):
            break
        command = command.commands[word]
    return command


def options_of(command):
    return {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_takes_what_is_printed(words):
    command = command_of(words[1:])
    assert not hasattr(command, "commands")
    assert {word for word in words if word.startswith("--")} <= options_of(command)


def test_each_command_of_data_is_on_the_page():
    named = {" ".join(words[:4]) for words in COMMANDS}
    for name in command_of(["data", "prepare"]).commands:
        assert f"envoi data prepare {name}" in named
    assert {"--allow-missing", "--leave-out-unreadable"} <= options_of(
        command_of(["data", "prepare", "rsna-pneumonia"])
    )


def test_each_set_is_on_the_page():
    for name in (*_MEDMNIST, *_BY_HAND, "fed-isic2019"):
        assert f"`{name}`" in PAGE
