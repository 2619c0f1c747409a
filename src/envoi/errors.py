"""Every error that Envoi raises on purpose.

    EnvoiError
    ├── SettingsError      a setting or a settings file is wrong
    ├── StudyError         a study.toml is wrong or does not fit the data
    ├── DataError          images, labels or tables are wrong
    ├── ShapeError         arrays or tensors do not fit one another
    ├── SubmissionError    a submission file is refused
    │   ├── SignatureError     not signed by the site it names
    │   └── ReplayError        an older or repeated sequence number
    ├── MethodError        a method cannot work with these teachers
    ├── StorageError       a file could not be read or written
    ├── PacsError          an archive of images does not answer, or refuses
    ├── MissingExtraError  an optional dependency is not installed
    └── CheckError         a check that a command was asked to make has failed

Each carries one or more `Problem`s, so that everything wrong with a file is said at once.
Each child is also the builtin that a caller would expect (`ValueError`, `OSError`, ...).
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in the four parts of every message.

    Attributes:
        expected: What should have been there.
        found: What was there. Never a patient identifier or a path of a site.
        where: The file, site or key that the problem belongs to.
        remedy: What the reader can do about it, as an imperative.
    """

    expected: str
    found: str
    where: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, found {self.found}. {self.remedy}"


class EnvoiError(Exception):
    """Root of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 3

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class SettingsError(EnvoiError, ValueError):
    """A setting or a settings file is wrong."""

    exit_code: ClassVar[int] = 2


class StudyError(EnvoiError, ValueError):
    """A study is wrong, or does not fit what it is used with."""


class DataError(EnvoiError, ValueError):
    """Images, labels or tables are wrong."""


class ShapeError(EnvoiError, ValueError):
    """Arrays or tensors do not fit one another."""


class SubmissionError(EnvoiError, ValueError):
    """A submission file is refused."""


class SignatureError(SubmissionError):
    """A submission was not signed by the site that it names."""


class ReplayError(SubmissionError):
    """A submission repeats or precedes one that was received before."""


class MethodError(EnvoiError, ValueError):
    """A method cannot work with the teachers it was given."""


class StorageError(EnvoiError, OSError):
    """A file could not be read or written."""


class PacsError(EnvoiError, ConnectionError):
    """An archive of images (PACS) does not answer, or refuses."""


class MissingExtraError(EnvoiError, ImportError):
    """An optional dependency is not installed."""


class CheckError(EnvoiError):
    """A check that a command was asked to make has failed."""

    exit_code: ClassVar[int] = 4


class EnvoiWarning(UserWarning):
    """Something is doubtful and Envoi goes on."""
