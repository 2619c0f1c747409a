"""Where the one file goes: a file, a folder, or a line that says which of the two is missing."""

import pytest

from envoi.cli.outgoing import new_file, submission_file
from envoi.errors import SettingsError, StorageError


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("out", "file"),
    [("there", "there/n.json"), ("new/", "new/n.json"), ("there/m.json", "there/m.json")],
)
def test_a_folder_takes_the_name_and_a_file_is_taken_as_it_is(out, file):
    assert str(new_file(out, "n.json", ending=".json")) == file


def test_a_folder_that_is_not_there_is_told_as_such():
    for wrong in (
        lambda: new_file("there/nowhere", "n.json", ending=".json"),
        lambda: submission_file("there/nowhere", "n.safetensors", encrypted=True),
    ):
        with pytest.raises(SettingsError, match="a folder that exists, .* no folder of that name"):
            wrong()


def test_another_ending_and_an_existing_file_are_refused(place):
    with pytest.raises(SettingsError, match=r"a name that ends in .json, found n.txt. Do so."):
        new_file("n.txt", "n.json", ending=".json", remedy="Do so.")
    (place / "there" / "n.json").write_text("")
    with pytest.raises(StorageError, match="a new file, found an existing one"):
        new_file("there", "n.json", ending=".json")


def test_an_encrypted_submission_is_called_so_and_no_other(place):
    assert submission_file("there", "n.st", encrypted=True).name == "n.st.age"
    assert submission_file("there", "n.st", encrypted=False).name == "n.st"
    with pytest.raises(SettingsError, match=r"a name that ends in .age, found m.st. It is encr"):
        submission_file("m.st", "n.st", encrypted=True)
    with pytest.raises(SettingsError, match=r"does not end in .age, found a file that is not enc"):
        submission_file("m.age", "n.st", encrypted=False)
