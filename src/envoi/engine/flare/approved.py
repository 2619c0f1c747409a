"""The site's approved files: what `envoi site submit`, `evaluate`, `withdraw` left in the outbox.

A person has written such a file into the outbox; that is the approval.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from envoi.engine.flare.cargo import SUBMISSIONS, Cargo, Kind
from envoi.errors import EnvoiError, Problem, StorageError, SubmissionError
from envoi.files import digest
from envoi.study import Study
from envoi.submission import open_submission, open_withdrawal
from envoi.submission.evaluation import open_evaluation
from envoi.submission.intake import intake

_COMMANDS = {Kind.SUBMISSION: "submit", Kind.EVALUATION: "evaluate", Kind.WITHDRAWAL: "withdraw"}


@dataclass(frozen=True, slots=True)
class Approved:
    """A file that may leave.

    Attributes:
        name: Of the file.
        sequence: Its number among the site's.
        content: All of it.
        refusals: What is wrong with other files of its kind that were passed over.
    """

    name: str
    sequence: int
    content: bytes
    refusals: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return digest(self.content)


@dataclass(frozen=True, slots=True)
class Signed:
    """What a file says under its site's signature, as far as it matters here.

    Attributes:
        site: That signed it.
        sequence: Its number.
        student: SHA-256 of the student that it is about, or empty.
    """

    site: str
    sequence: int
    student: str = ""


def approved_file(
    outbox: Path, *, study: Study, site: str, scratch: Path, cargo: Cargo = SUBMISSIONS
) -> Approved:
    """The valid file of the site with the highest number, of the kind that is asked for.

    Other files of the outbox are passed over, evaluations of other students too.

    Args:
        outbox: The folder.
        study: Judges the files.
        site: Whose file it must be.
        scratch: For a copy while it is checked.
        cargo: Kind of the file and, of an evaluation, the student.

    Raises:
        StorageError: There is none.
        SubmissionError: There are files, and none is valid; the first one's problem.
    """
    found: list[Approved] = []
    refusals: list[EnvoiError] = []
    paths = sorted(outbox.glob(f"*{cargo.suffix}")) if outbox.is_dir() else []
    for path in paths:
        try:
            with intake(path) as source:
                content = source.read(min(source.size, cargo.largest_bytes(study) + 1))
            signed = checked(content, cargo.kind, study=study, site=site, scratch=scratch)
        except SubmissionError as err:
            refusals.append(err)
            continue
        if signed.student == cargo.student:
            found.append(Approved(path.name, signed.sequence, content))
    if found:
        latest = max(found, key=lambda file: file.sequence)
        return replace(latest, refusals=tuple(map(str, refusals)))
    if refusals:
        raise refusals[0]
    command = f"envoi site {_COMMANDS[cargo.kind]} ... --out"
    remedy = f"Write the file with `{command}` into the outbox and look at what it tells."
    raise StorageError(Problem(f"an approved {cargo.kind}", "none", outbox.name, remedy))


def checked(content: bytes, kind: Kind, *, study: Study, site: str, scratch: Path) -> Signed:
    """What the bytes of a whole file say, after every check that the server will make.

    Args:
        content: Of the file.
        kind: That it must be of.
        study: Judges it.
        site: Whose file it must be.
        scratch: An existing folder that no other user can enter.

    Raises:
        SubmissionError: It is no valid file of that kind and site.
    """
    with tempfile.NamedTemporaryFile(dir=scratch, prefix=f"{site}.", suffix=".part") as file:
        file.write(content)
        file.flush()
        signed = _OPENED[kind](Path(file.name), study)
    if signed.site != site:
        remedy = "Take that file out of the outbox."
        raise SubmissionError(Problem(f"a file of {site}", f"one of {signed.site}", site, remedy))
    return signed


def _submission(path: Path, study: Study) -> Signed:
    sent = open_submission(path, study=study)
    return Signed(sent.site, sent.sequence)


def _evaluation(path: Path, study: Study) -> Signed:
    said = open_evaluation(path, study=study)
    return Signed(said.site, said.sequence, said.student)


def _withdrawal(path: Path, study: Study) -> Signed:
    notice = open_withdrawal(path, study=study)
    return Signed(notice.site, notice.sequence)


_OPENED: dict[Kind, Callable[[Path, Study], Signed]] = {
    Kind.SUBMISSION: _submission,
    Kind.EVALUATION: _evaluation,
    Kind.WITHDRAWAL: _withdrawal,
}
