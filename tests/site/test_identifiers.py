"""Names that must not be in a file: found whatever their case, counted and never told."""

import pytest

from envoi.errors import CheckError
from envoi.site.identifiers import check_nobody_named, machine_names

TEXT = '{"site":"north-clinic","card":{"note":"MUSTERMANN, 12345678"}}'


@pytest.mark.parametrize("name", ["Mustermann", "mustermann ", "12345678"])
def test_a_name_is_found_and_not_repeated(name):
    with pytest.raises(CheckError, match="found 1") as caught:
        check_nobody_named(TEXT, [name, "nobody"], allowed=[])
    assert name.strip() not in str(caught.value)


def test_parts_of_words_short_words_and_the_site_are_passed_over():
    assert check_nobody_named(TEXT, ["muster", "234567", "1234567"], allowed=[]) == 3
    assert check_nobody_named(TEXT, ["no", "car"], allowed=[]) == 0
    assert check_nobody_named(TEXT, ["north-clinic"], allowed=["north-clinic"]) == 0


def test_this_machine_has_names():
    assert all(len(name) >= 4 for name in machine_names())
