"""What a job carries: one kind of file, between the server and one site.

A job names the kind and, where it matters, the student's checksum; never a path or a file's name.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from envoi.errors import Problem, SettingsError
from envoi.server.inbox import NOTICE_SUFFIX
from envoi.study import Study
from envoi.submission import evaluation, withdrawal
from envoi.submission.layout import largest_submission_bytes

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LABEL_DIGITS = 16
FILE_DIGITS = 12


class Kind(StrEnum):
    """Kinds of files, and the names of the tasks that move them."""

    SUBMISSION = "submission"
    EVALUATION = "evaluation"
    WITHDRAWAL = "withdrawal"
    STUDENT = "student"


_SUFFIXES = {
    Kind.SUBMISSION: ".safetensors",
    Kind.EVALUATION: evaluation.SUFFIX,
    Kind.WITHDRAWAL: NOTICE_SUFFIX,
    Kind.STUDENT: ".safetensors",
}
LEAVING = frozenset({Kind.SUBMISSION, Kind.EVALUATION, Kind.WITHDRAWAL})
_OF_A_STUDENT = {Kind.EVALUATION, Kind.STUDENT}


@dataclass(frozen=True, slots=True)
class Cargo:
    """What is carried.

    Attributes:
        kind: Of the file.
        student: SHA-256 of the student that is sent, or that an evaluation is of; else empty.

    Raises:
        SettingsError: The checksum is none, or stands where none belongs.
    """

    kind: Kind
    student: str = ""

    def __post_init__(self) -> None:
        wanted, remedy = self.kind in _OF_A_STUDENT, "Give the SHA-256 of the student's file."
        if not wanted and self.student:
            raise SettingsError(Problem(f"a {self.kind} alone", "a checksum", "job", remedy))
        if wanted and not _SHA256.fullmatch(self.student):
            found = ascii(self.student)[:80]
            raise SettingsError(Problem("64 hexadecimal digits", found, "job", remedy))

    @property
    def label(self) -> str:
        """A name for it: in jobs, and of the folder of their outcomes."""
        return f"{self.kind}-{self.student[:_LABEL_DIGITS]}" if self.student else f"{self.kind}"

    @property
    def suffix(self) -> str:
        """How names of such files end."""
        return _SUFFIXES[self.kind]

    @property
    def is_optional(self) -> bool:
        """Whether most sites have none: then all are asked each time, and "none" is an answer."""
        return self.kind is Kind.WITHDRAWAL

    def inbox_name(self, site: str, digest: str) -> str:
        """The name in the server's inbox of a file with this SHA-256 from `site`."""
        return f"{self._beginning(site)}{digest[:FILE_DIGITS]}{self.suffix}"

    def is_inbox_name(self, name: str, site: str) -> bool:
        """Whether `inbox_name` gives `name` to a file of `site`."""
        pattern = rf"{re.escape(self._beginning(site))}[0-9a-f]{{{FILE_DIGITS}}}"
        return re.fullmatch(pattern + re.escape(self.suffix), name) is not None

    def largest_bytes(self, study: Study) -> int:
        """Bytes of the largest such file that a site of `study` may send."""
        if self.kind is Kind.EVALUATION:
            return evaluation.SIZE_LIMIT
        if self.kind is Kind.WITHDRAWAL:
            return withdrawal.SIZE_LIMIT
        return largest_submission_bytes(study)

    def _beginning(self, site: str) -> str:
        return f"{site}-{self.student[:FILE_DIGITS]}-" if self.student else f"{site}-"


SUBMISSIONS = Cargo(Kind.SUBMISSION)
WITHDRAWALS = Cargo(Kind.WITHDRAWAL)
