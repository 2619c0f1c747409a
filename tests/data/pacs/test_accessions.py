"""Lists of accession numbers: what is read, and what is told without telling a number."""

import pytest

from envoi.data.pacs.accessions import Accessions, read_accessions
from envoi.errors import DataError, StorageError


def told(*numbers, missing=()):
    listed = Accessions(numbers, tuple(range(1, len(numbers) + 1)))
    return list(listed.told(missing))


def test_accession_numbers_are_read(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_bytes(b"\xef\xbb\xbfA1\r\n\r\n A 2 \r\nA1\r\n0003\r\n")
    found = read_accessions(path)
    assert (found.numbers, found.lines) == (("A1", "A 2", "0003"), (1, 3, 5))
    assert "A1" not in repr(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "found none"),
        ("A1\nSECRET*\nA2\n", "line 2: expected 1 to 16"),
        ("SECRET\\B\n", "line 1"),
        ("SECRETSECRETSECRET\n", "line 1"),
        ("SECRET1\tSECRET\n", "no header, no other columns"),
        ("?SECRET\n" * 9, "lines 1, 2, 3, 4, 5 and 4 more"),
    ],
)
def test_lines_that_are_none_are_told_by_their_number(text, told, tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=told) as found:
        read_accessions(path)
    assert "SECRET" not in str(found.value)


def test_a_missing_list_is_told(tmp_path):
    with pytest.raises(StorageError, match="a list of accession numbers"):
        read_accessions(tmp_path / "none.txt")


def test_a_list_in_another_encoding_is_told_how_to_be_saved(tmp_path):
    (tmp_path / "numbers.txt").write_bytes(b"A\xe4\n")
    with pytest.raises(StorageError, match="Save it as UTF-8"):
        read_accessions(tmp_path / "numbers.txt")


def test_all_found_is_one_line():
    assert told("A1", "A2") == ["2 of 2 accession numbers found."]
    assert told("A1") == ["1 of 1 accession number found."]


def test_what_was_not_found_is_told_by_its_lines():
    lines = told(*(f"A{number}" for number in range(9)), missing=(1, 3))
    assert lines == [
        "7 of 9 accession numbers found.",
        "Not found: what stands in lines 2 and 4 of the list.",
    ]
    many = told(*(f"A{number}" for number in range(90)), missing=range(10, 90))
    assert many[1].endswith("lines 11, 12, 13, 14, 15 and 75 more of the list.")


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("A1,SECRET", "commas or semicolons. Give a text file with one accession number in each"),
        ("A1;SECRET", "commas or semicolons"),
        ("AccessionNumber", "like the header of a table. Give a text file with one"),
        ("123", "Zeros at the beginning count: a spreadsheet takes them away"),
    ],
)
def test_what_may_be_wrong_with_the_list_is_hinted_at(first, words):
    lines = told(first, "A2", missing=(0,))
    assert words in lines[2]
    assert len(lines) == 3
    assert not any(first in line or "SECRET" in line for line in lines)
    assert len(told("A2", first, missing=(0,))) == 2
    assert len(told(first, "A2", missing=())) == 1
