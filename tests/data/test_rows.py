"""Columns of tables that others have made."""

import pytest

from envoi.data.rows import read_columns
from envoi.errors import DataError, StorageError


def read(path, text, names=("image", "level")):
    path.write_text(text)
    return read_columns(path, names, what="labels.csv", remedy="Get it again.")


def test_columns_come_in_the_order_asked_for_with_their_lines(tmp_path):
    text = '\ufefflevel,note,image\n0,"a, b\nc",x\n\n,,y\n'
    assert read(tmp_path / "a.csv", text) == [(3, ("x", "0")), (5, ("y", ""))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one column called 'image', found none"),
        ("image\nx", "one column called 'level', found none"),
        ("image,level,level\nx,1,2", "one column called 'level', found 2"),
        ("image,level\nx", "labels.csv, line 2: expected 2 cells, found 1"),
        ('image,level\n"x"y,1', "labels.csv, line 2: expected cells as RFC 4180"),
    ],
)
def test_tables_of_another_form_are_refused(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read(tmp_path / "a.csv", text)


def test_a_table_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StorageError, match="the table labels.csv, found No such file.*Get it"):
        read_columns(tmp_path / "a.csv", ("image",), what="labels.csv", remedy="Get it again.")
