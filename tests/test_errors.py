"""The error tree: what a caller may catch, what the command line returns, what people read."""

import copy

import pytest

from envoi import errors
from envoi.errors import (
    CheckError,
    DataError,
    EnvoiError,
    EnvoiWarning,
    MethodError,
    MissingExtraError,
    PacsError,
    Problem,
    ReplayError,
    SettingsError,
    ShapeError,
    SignatureError,
    StorageError,
    StudyError,
    SubmissionError,
)

PROBLEM = Problem("3 classes", "2", "study.toml, classes", "Name the third class.")
BUILTINS = {
    SettingsError: ValueError,
    StudyError: ValueError,
    DataError: ValueError,
    ShapeError: ValueError,
    SubmissionError: ValueError,
    SignatureError: SubmissionError,
    ReplayError: SubmissionError,
    MethodError: ValueError,
    StorageError: OSError,
    PacsError: ConnectionError,
    MissingExtraError: ImportError,
    CheckError: EnvoiError,
}


def test_a_problem_reads_as_where_expected_found_and_what_to_do():
    wanted = "study.toml, classes: expected 3 classes, found 2. Name the third class."
    assert str(PROBLEM) == wanted


def test_every_error_is_in_the_table():
    defined = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, EnvoiError)
    }
    assert defined == {EnvoiError, *BUILTINS}


@pytest.mark.parametrize(("kind", "builtin"), BUILTINS.items())
def test_each_error_is_also_the_builtin_that_callers_expect(kind, builtin):
    assert issubclass(kind, EnvoiError)
    with pytest.raises(builtin, match="expected 3 classes, found 2"):
        raise kind(PROBLEM)


@pytest.mark.parametrize("kind", [EnvoiError, *BUILTINS])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 6])
def test_all_problems_are_told_one_a_line(kind, count):
    # OSError reads two and more arguments as an error number and file names.
    problems = [Problem("a", "b", f"key {n}", "Do it.") for n in range(count)]
    error = kind(*problems)
    assert error.problems == tuple(problems)
    assert str(error) == "\n".join(str(problem) for problem in problems)


@pytest.mark.parametrize("kind", [StorageError, MissingExtraError, DataError])
def test_a_copy_tells_the_same(kind):
    assert str(copy.copy(kind(PROBLEM))) == str(PROBLEM)


def test_exit_codes_of_the_command_line():
    codes = {kind: kind.exit_code for kind in BUILTINS}
    assert codes.pop(SettingsError) == 2
    assert codes.pop(CheckError) == 4
    assert set(codes.values()) == {EnvoiError.exit_code} == {3}


def test_the_warning_is_a_user_warning():
    assert issubclass(EnvoiWarning, UserWarning)
