"""Prepared sets: what is left out by permission, and what is not."""

import errno
from dataclasses import replace

import pytest
from PIL import Image

from envoi.data.prepared import Pictures, Source, class_counts, like_names, write_prepared
from envoi.errors import DataError, Problem, StorageError


def broken():
    raise DataError(Problem("a whole picture", "half of one", "file 2", "Get it again."))


def sources():
    return [
        Source(lambda: Image.new("L", (4, 4), 1), "a", "1"),
        Source(broken, "b", "2"),
        Source(lambda: Image.new("L", (4, 4), 3), "b", "3"),
    ]


def written(out, **options):
    return write_prepared(out, sources(), pictures=Pictures(), request={}, **options)


def test_a_picture_that_cannot_be_read_keeps_the_table_from_being_written(tmp_path):
    with pytest.raises(DataError, match="file 2: expected a whole picture"):
        written(tmp_path / "set")
    assert not (tmp_path / "set" / "labels.csv").exists()


def test_it_is_left_out_by_permission_and_the_others_keep_their_numbers(tmp_path):
    assert written(tmp_path / "set", leave_out=True) == 2
    table = (tmp_path / "set" / "labels.csv").read_text()
    assert table == "path,label\nimages/0000001.png,a\nimages/0000003.png,b\n"
    assert class_counts(tmp_path / "set") == {"a": 1, "b": 1}


def test_the_permission_is_part_of_the_request(tmp_path):
    with pytest.raises(DataError):
        written(tmp_path / "set")
    with pytest.raises(StorageError, match="an unfinished set of other settings"):
        written(tmp_path / "set", leave_out=True)


@pytest.mark.parametrize(
    "other",
    [
        {"origin": "1"},
        {"label": "c"},
        {"patient": 1},
        {"split": "test"},
        {"site": "s"},
    ],
)
def test_an_unfinished_set_goes_on_only_with_the_same_sources(tmp_path, other):
    with pytest.raises(DataError):
        written(tmp_path / "set")
    with pytest.raises(DataError):  # the same sources, and what is wrong with them
        written(tmp_path / "set")
    first, second, third = sources()
    for changed in (
        [first, second, replace(third, **other)],
        [first, third, second],
        [first, second],
    ):
        with pytest.raises(StorageError, match="set of other files or labels, or of files that"):
            write_prepared(tmp_path / "set", changed, pictures=Pictures(), request={})


@pytest.mark.parametrize("full", ["0000003.png", "labels.csv"])
def test_a_full_disk_says_that_the_same_command_goes_on(tmp_path, full, monkeypatch):
    import envoi.files as module

    real = module.tempfile.mkstemp

    def stopped(**place):
        if full in place["prefix"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(**place)

    monkeypatch.setattr(module.tempfile, "mkstemp", stopped)
    good = [replace(source, picture=sources()[0].picture) for source in sources()]
    with pytest.raises(StorageError, match="No space left") as caught:
        write_prepared(tmp_path / "set", good, pictures=Pictures(), request={})
    assert "give the same command again: it goes on" in str(caught.value)
    assert "nothing was changed" not in str(caught.value)
    monkeypatch.undo()
    assert write_prepared(tmp_path / "set", good, pictures=Pictures(), request={}) == 3


def test_a_set_of_nothing_is_none(tmp_path):
    with pytest.raises(DataError, match="at least one picture"):
        write_prepared(
            tmp_path / "set",
            [Source(broken, "b", "2")],
            pictures=Pictures(),
            request={},
            leave_out=True,
        )


@pytest.mark.parametrize(
    "names",
    [
        ("Normal", "normal"),
        ("no mass", "no  mass"),
        ("a", " a"),
        ("\u00fc", "u\u0308"),
        ("\u00df", "SS"),
    ],
)
def test_names_that_hardly_differ_are_found(names):
    assert like_names(["mass", names[0], "masses", names[1]]) == [names]


def test_names_that_differ_are_not_alike():
    assert like_names(["mass", "masses", "no mass", "nomass", "stage 1", "stage I"]) == []
