"""Rows of a run: computed once, all of them remembered, time added up."""

import time

import pytest

from envoi.errors import StorageError
from envoi.results import MethodResult, RunFolder
from envoi.server.rows import Rows, tentative


def row(name):
    return MethodResult(name, None, 1.5, 2.0, 3, 4, changes=("outer_epochs: 100 -> 1",))


@pytest.fixture
def rows(tmp_path):
    return Rows(tmp_path)


@pytest.mark.parametrize("name", ["fedavg", "local/north", "some.module:Name"])
def test_a_row_is_computed_once(name, rows, tmp_path):
    assert name not in rows
    assert rows.remembered(name, lambda: row(name)) == row(name)
    again = Rows(tmp_path)
    assert name in again
    assert again.remembered(name, lambda: pytest.fail("computed again")) == row(name)


def test_all_rows_of_the_folder_are_there_those_asked_for_first(rows):
    for name in ("local/b", "fedisca", "a.b:C", "fedavg"):
        rows.remembered(name, lambda name=name: row(name))
    found = rows.in_order(["fedavg", "fedisca", "never-run"])
    assert list(found) == ["fedavg", "fedisca", "a.b:C", "local/b"]
    assert all(found[name] == row(name) for name in found)


def test_no_rows_are_none(rows):
    assert rows.in_order(["fedavg"]) == {}


def test_a_row_of_another_version_is_told(rows):
    rows.remembered("fedavg", lambda: row("fedavg"))
    rows.file("fedavg", ".json").write_text("{}")
    with pytest.raises(StorageError, match=r"fedavg.json: expected a row of this version.*Remove"):
        rows.in_order([])


def test_time_is_that_of_all_attempts_interrupted_ones_too(rows, tmp_path, monkeypatch):
    clock = iter([10.0, 14.0, 100.0, 101.5, 102.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    def interrupted():
        with rows.timed():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with Rows(tmp_path).timed() as seconds:
        assert seconds() == 5.5
    assert (tmp_path / "wall_seconds").read_text() == "6.0\n"


def failing(run, *, writes=()):
    """A run that claims its folder, writes files and fails."""
    with tentative(run):
        run.claim({"seed": 1}, what="the settings")
        for name in writes:
            (run.path / name).write_text("")
        raise ValueError("cannot work")


def test_a_claim_is_taken_back_where_nothing_was_computed(tmp_path):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(ValueError, match="cannot work"):
        failing(run, writes=["wall_seconds"])
    assert not run.path.exists()
    run.path.mkdir()
    with pytest.raises(ValueError, match="cannot work"):
        failing(run)
    assert not list(run.path.iterdir())


def test_a_claim_stands_where_something_was_computed_or_was_there_before(tmp_path):
    computed, earlier = RunFolder(tmp_path / "computed"), RunFolder(tmp_path / "earlier")
    earlier.claim({"seed": 1}, what="the settings")
    with pytest.raises(ValueError, match="cannot work"):
        failing(computed, writes=["steps.jsonl"])
    with pytest.raises(ValueError, match="cannot work"):
        failing(earlier)
    for run in (computed, earlier):
        assert run.settings() == {"seed": 1}
        run.claim({"seed": 1}, what="the settings")
