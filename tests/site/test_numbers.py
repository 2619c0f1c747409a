"""Numbers of files outlive a working folder wherever they can be kept beside the key."""

from datetime import date

import pytest

import envoi.site.numbers
from envoi.errors import SettingsError, StorageError
from envoi.site import Numbers, Workspace, above_all


@pytest.fixture
def numbers(tmp_path):
    return lambda folder="work", site="north": Numbers(
        site, tmp_path / "north.key", Workspace(tmp_path / folder, site)
    )


def test_a_new_folder_counts_on_from_what_the_key_has_written(numbers, tmp_path):
    assert numbers().last() == 0
    numbers().reserve(1)
    numbers().reserve(3)
    new = numbers("other")
    assert (new.of_folder(), new.of_key(), new.last()) == (0, 3, 3)
    with pytest.raises(SettingsError, match="a number above 3, that of the last file, found 2"):
        new.reserve(2)
    new.reserve(4)
    assert numbers().last() == 4
    assert Numbers("north", tmp_path / "north.key").last() == 4


def test_sites_of_one_key_are_told_apart(numbers):
    numbers().reserve(5)
    assert numbers("other", "south").last() == 0
    numbers("other", "south").reserve(1)
    assert (numbers().of_key(), numbers("other", "south").of_key()) == (5, 1)


def test_where_nobody_may_write_beside_the_key_the_folder_alone_knows(numbers, monkeypatch):
    def refused(path, value):
        raise StorageError

    monkeypatch.setattr(envoi.site.numbers, "write_json", refused)
    numbers().reserve(2)
    numbers().note(9)
    assert (numbers().of_folder(), numbers().of_key()) == (9, 0)
    assert not numbers().path.exists()


def test_a_noted_number_only_goes_up(numbers):
    numbers().reserve(4)
    numbers().note(2)
    assert numbers().last() == 4
    numbers().note(8)
    assert (numbers().of_folder(), numbers().of_key()) == (8, 8)


@pytest.mark.parametrize("text", ["", "[1]", '{"north": "3"}', '{"north": 1.5}'])
def test_damaged_numbers_are_refused(numbers, text):
    numbers().path.write_text(text)
    with pytest.raises(StorageError, match="north.key.sent.json: .* found something else. Remove"):
        numbers().last()


def test_all_is_above_what_anybody_counts_to_and_below_tomorrow():
    today, tomorrow = above_all(date(2030, 12, 31)), above_all(date(2031, 1, 1))
    assert 10**9 < today + 10**5 < tomorrow < 2**53
